"""The settings of a run of the study, the names of its folders, and the checks that need several groups at once."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

# Importing these modules puts the schemas of the config groups into Hydra's config store.
import sg.caption.config  # noqa: F401
from sg.artefacts.arms import CONTRASTS, EQUAL_STEPS, HEADLINE, check_controls
from sg.artefacts.predictions import SETTINGS, WITHOUT_SUBTITLES
from sg.core.commands import register, typed
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY, Identity, identity
from sg.core.layout import CONFIG_FOLDER
from sg.core.output import TEXT, check_format
from sg.core.places.config import PathsConfig
from sg.core.plugins import config_dir
from sg.core.scales import parse_scale, scale_label
from sg.core.tracking import LoggerConfig
from sg.curate.registry import CURATORS
from sg.demo.config import DemoWorldConfig
from sg.embed.registry import EMBEDDERS
from sg.evaluate.benchmark import BENCHMARKS
from sg.evaluate.config import check_benchmarks
from sg.models.student import STUDENTS
from sg.sources.registry import SOURCES
from sg.train.config import ALIGN, STAGES, RecipeConfig, TrainerConfig

# Registers the schemas of all benchmarks, curators, embedders, sources and students.
BENCHMARKS.load()
CURATORS.load()
EMBEDDERS.load()
SOURCES.load()
STUDENTS.load()

STUDY_VERSION = 1
"""Raise it when the same settings would give other results although no identity of a stage or an answer changes."""


@dataclass
class PrimaryConfig:
    """The primary contrast that `register=true` writes down.

    Attributes:
        contrast: caption_effect (largest scale minus none), scale_effect (largest minus smallest), or control (largest
            scale minus its equal-step control).
        setting: without_subtitles or with_subtitles.
        equivalence_points: "no difference" means a true difference within ± this many points.
    """

    contrast: str = "caption_effect"
    setting: str = WITHOUT_SUBTITLES
    equivalence_points: float = 1.0

    def __post_init__(self) -> None:
        names = [name.replace(" ", "_") for name in CONTRASTS]
        if self.contrast not in names:
            raise ConfigError(f"primary.contrast={self.contrast!r} should be one of {', '.join(names)}.")
        if self.setting not in SETTINGS:
            raise ConfigError(f"primary.setting={self.setting!r} should be one of {', '.join(SETTINGS)}.")
        if self.equivalence_points <= 0:
            raise ConfigError(f"primary.equivalence_points={self.equivalence_points} should be above 0.")


@dataclass
class ForgettingConfig:
    """Dialogs of the model's own kind, which no stage trains on: the loss on them rises with what a run forgets.

    Attributes:
        dialogs: file of dialogs, such as a sample of what the model was instructed with; null computes no such loss.
        media: folder of their images and videos; null is `data.videos`.
        samples: largest number of dialogs, from the beginning of the file.
    """

    dialogs: str | None = None
    media: str | None = None
    samples: int = 200

    def __post_init__(self) -> None:
        if self.dialogs is None and (self.media is not None or self.samples != type(self).samples):
            raise ConfigError("forgetting.media and forgetting.samples need forgetting.dialogs=FILE.")
        if self.samples < 1:
            raise ConfigError(f"forgetting.samples={self.samples} should be 1 or more.")


@dataclass
class TrainConfig:
    """One run: a student taken through the stages at one scale with one seed, then evaluated.

    `stages` is the recipe; null is that of the student's kind. Stages that it lacks have no settings in `stage`.

    Fields with NOT_IDENTITY do not change the identity of a study. `name` and `seed` are parts of folder names, and
    the seed is part of the identity of every stage. `controls` only adds runs.
    """

    name: str = field(default="???", metadata=NOT_IDENTITY)
    seed: int = field(default=0, metadata=NOT_IDENTITY)
    stages: list[str] | None = field(default=None, metadata=NOT_IDENTITY)
    controls: list[str] = field(default_factory=list, metadata=NOT_IDENTITY)
    dry_run: bool = field(default=False, metadata=NOT_IDENTITY)
    why: bool = field(default=False, metadata=NOT_IDENTITY)
    rehearse: bool = field(default=False, metadata=NOT_IDENTITY)
    format: str = field(default=TEXT, metadata=NOT_IDENTITY)
    wanted_points: float | None = field(default=None, metadata=NOT_IDENTITY)
    usd_per_hour: float | None = field(default=None, metadata=NOT_IDENTITY)
    register: bool = field(default=False, metadata=NOT_IDENTITY)
    primary: PrimaryConfig = field(default_factory=PrimaryConfig, metadata=NOT_IDENTITY)
    data: Any = None
    captioner: Any = None
    embedder: Any = None
    curator: Any = None
    model: Any = None
    stage: RecipeConfig = field(default_factory=RecipeConfig)
    benchmark: Any = None
    # Further ones by name: `benchmark=[video_mme,mvbench]`. No benchmark changes the answers to another one.
    more_benchmarks: dict[str, Any] = field(default_factory=dict, metadata=NOT_IDENTITY)
    forgetting: ForgettingConfig = field(default_factory=ForgettingConfig, metadata=NOT_IDENTITY)
    demo_world: DemoWorldConfig = field(default_factory=lambda: DemoWorldConfig(videos_per_k=1))
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig, metadata=NOT_IDENTITY)
    paths: PathsConfig = field(default_factory=PathsConfig, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        self.stages = list(STUDENTS.of(self.model).default_stages(self.model) if self.stages is None else self.stages)
        self.stage = self.stage.of(self.stages, self.model.name)
        untrained = STUDENTS.of(self.model).untrained(self.model)
        if untrained and ALIGN not in self.stages:
            raise ConfigError(
                f"stages=[{','.join(self.stages)}] would start from a random {', '.join(untrained)} of model="
                f"{self.model.name}: add the stage {ALIGN}, or give a trained one as model.checkpoint or "
                "model.projector."
            )
        if not self.benchmark.answering.settings:
            raise ConfigError("benchmark.answering.settings=[] should name one or more: a study compares their scores.")
        check_format(self.format)
        check_controls(self.controls)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed={self.seed} should be between 0 and 2**63 - 1.")
        for name in ("wanted_points", "usd_per_hour"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name}={value} should be above 0, or null.")
            if value is not None and not self.dry_run:
                raise ConfigError(f"{name}={value} is for the plan: add dry_run=true.")
        if self.rehearse and self.why:
            raise ConfigError("rehearse=true is another answer than why=true: give one of them.")
        if self.primary != PrimaryConfig() and not self.register:
            raise ConfigError("primary.* says what register=true writes down: add register=true, or leave it out.")
        if self.data.demo_world is not None and self.demo_world != DemoWorldConfig(videos_per_k=1):
            raise ConfigError(
                f"demo_world.* is for real data, and data={self.data.name} has a demo world: set data.world.KEY=VALUE."
            )
        check_benchmarks(self.benchmarks)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ConfigError(
                f"name={self.name!r} should be letters, digits, dots, dashes: it names a folder of results."
            )

    @property
    def benchmarks(self) -> list[Any]:
        """The settings of all benchmarks."""
        return [self.benchmark, *self.more_benchmarks.values()]

    def per_benchmark(self) -> list["TrainConfig"]:
        """These settings once per benchmark, each with that benchmark alone."""
        return [replace(self, benchmark=benchmark, more_benchmarks={}) for benchmark in self.benchmarks]

    @property
    def work_folder(self) -> Path:
        """Folder of the artefacts that runs share."""
        return Path(self.paths.work)

    @property
    def stages_folder(self) -> Path:
        """Folder of the stage checkpoints."""
        return self.work_folder / "stages"


def run_name(scale: str, control: str, control_scale: str, seed: int) -> str:
    """The folder of a run inside its study: `50k-seed0`, `50k-equal_steps-530k-seed0`, `100k-random-seed2`."""
    number = parse_scale(scale)
    label = "all" if number is None else scale_label(number)
    if control == EQUAL_STEPS:
        target = parse_scale(control_scale)
        return f"{label}-equal_steps-{'all' if target is None else scale_label(target)}-seed{seed}"
    return f"{label}-{control}-seed{seed}" if control != HEADLINE else f"{label}-seed{seed}"


def study_identity(config: TrainConfig) -> Identity:
    """What the runs of a study share: all settings that can change a result, and the content of the model.

    Scale, control and seed are not part of it, because they name the runs inside the study. The data counts by its
    settings alone, since it may not exist yet; `sg.study.study_data` compares its content.
    """
    model = STUDENTS.of(config.model).identity(config.model)
    return identity("study", settings=config, inputs={"model": model}, version=STUDY_VERSION)


def study_name(config: TrainConfig) -> str:
    """The folder of a study: its name, and 8 hex digits of its identity."""
    return f"{config.name}-{study_identity(config).name[:8]}"


def inherit_stages(folders: Sequence[Path]) -> None:
    """Store the stages of every model of these config folders that has no folder of its own in `stage/`.

    `stage@stage.caption: ${model}/caption` in `conf/train.yaml` reads `conf/stage/<model>/caption.yaml`. A model that
    has no such folder has the stages of the model that its file derives from: `conf/model/<model>.yaml` with
    `defaults: [tiny, _self_]` those of `conf/stage/tiny`.
    """
    names = {path.stem for folder in folders for path in folder.glob("model/*.yaml")}
    for name in sorted(name for name in names if not _found(folders, f"stage/{name}")):
        ancestor = next((one for one in _ancestors(folders, name) if _found(folders, f"stage/{one}")), None)
        for stage in STAGES if ancestor is not None else ():
            if _found(folders, f"stage/{ancestor}/{stage}.yaml"):
                node = {"defaults": [f"/stage/{ancestor}/{stage}@_here_", "_self_"]}
                ConfigStore.instance().store(group=f"stage/{name}", name=stage, node=node)


def _ancestors(folders: Sequence[Path], name: str) -> Iterator[str]:
    """The models that the file of a model derives from, the nearest first."""
    seen = {name}
    while (file := _found(folders, f"model/{name}.yaml")) is not None:
        content: Any = OmegaConf.load(file)
        bases = [entry for entry in content.get("defaults", []) if isinstance(entry, str)]
        bases = [base for base in bases if base != "_self_" and not base.endswith("_schema") and base not in seen]
        if not bases:
            return
        name = bases[0]
        seen.add(name)
        yield name


def _found(folders: Sequence[Path], path: str) -> Path | None:
    return next((folder / path for folder in folders if (folder / path).exists()), None)


inherit_stages([folder for folder in (config_dir(sys.argv[1:]), CONFIG_FOLDER) if folder is not None])
register(None, "train_schema", TrainConfig)
OmegaConf.register_new_resolver("sg.study", lambda *, _root_: study_name(typed(_root_, TrainConfig)), replace=True)
OmegaConf.register_new_resolver("sg.run", run_name, replace=True)
