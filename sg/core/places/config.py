"""Folders of this machine: a part of the config of every command."""

from dataclasses import dataclass

from sg.core.commands import register
from sg.core.errors import ConfigError


@dataclass
class PathsConfig:
    """Folders of this machine.

    Attributes:
        work: artefacts that runs share: manifests, captions, vectors, forests, visual tokens, stage checkpoints; and
            `logs`, with one file per command that has no run folder.
        runs: results: one folder per study, and in it one folder per run.
        demo_world: the demo world: videos of `data=demo`, dialogs of the tiny model, `benchmark=demo`; one folder per
            world.
    """

    work: str = "${sg.path:work}"
    runs: str = "${sg.path:runs}"
    demo_world: str = (
        "${paths.work}/demo"
        "-w${oc.select:data.world.world_seed,${oc.select:demo_world.world_seed,0}}"
        "-${oc.select:data.world.videos_per_k,${oc.select:demo_world.videos_per_k,10}}"
    )

    def __post_init__(self) -> None:
        for name, folder in vars(self).items():
            if not folder:  # such as that of an unset variable of the shell
                raise ConfigError(f"paths.{name}= is empty: write a folder.")


register("paths", "paths_schema", PathsConfig)
