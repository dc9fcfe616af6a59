"""Folders of this machine, as every command's config has them."""

from dataclasses import dataclass

from sg.core.commands import register


@dataclass
class PathsConfig:
    """Folders of this machine.

    Attributes:
        work: artefacts that runs share: manifests, captions, vectors, forests, visual tokens, stage checkpoints.
        runs: results, one folder a study and in it one a run.
        demo_world: the demo world: videos of `data=demo`, dialogs of the tiny model, `benchmark=demo`.
    """

    work: str = "work"
    runs: str = "runs"
    demo_world: str = "work/demo"


register("paths", "paths_schema", PathsConfig)
