"""The settings of a run of the study, the names of its folders, and the checks that need several groups at once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Importing these modules puts the schemas of the config groups into Hydra's config store.
import sg.caption.config
import sg.caption.hosted.settings
import sg.models.config  # noqa: F401
from sg.artefacts.result import CONTROLS, EQUAL_STEPS
from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.fingerprints import fingerprint
from sg.core.identity import NOT_IDENTITY
from sg.core.output import TEXT, check_format
from sg.core.paths import PathsConfig
from sg.core.scales import parse_scale, scale_label
from sg.core.tracking import LoggerConfig
from sg.curate.registry import CURATORS
from sg.demo.config import DemoWorldConfig
from sg.embed.registry import EMBEDDERS
from sg.evaluate.benchmark import BENCHMARKS
from sg.sources.registry import SOURCES
from sg.train.config import RecipeConfig, TrainerConfig, without_unused

# Registers the schemas of all benchmarks, curators, embedders and sources.
BENCHMARKS.load()
CURATORS.load()
EMBEDDERS.load()
SOURCES.load()

# What does not change a study's results, so that a repeated command with other values finds its runs again.
_NOT_RESULTS = ("paths", "dry_run", "controls", "seed", "name", "format")


@dataclass
class TrainConfig:
    """One run: a model taken through the stages at one scale with one seed, then evaluated."""

    name: str = "???"
    seed: int = 0
    controls: list[str] = field(default_factory=list)
    dry_run: bool = False
    format: str = field(default=TEXT, metadata=NOT_IDENTITY)
    data: Any = None
    captioner: Any = None
    embedder: Any = None
    curator: Any = None
    model: Any = None
    stage: RecipeConfig = field(default_factory=RecipeConfig)
    benchmark: Any = None
    demo_world: DemoWorldConfig = field(default_factory=lambda: DemoWorldConfig(videos_per_k=1))
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        check_format(self.format)
        unknown = [control for control in self.controls if control not in CONTROLS]
        if unknown:
            raise ConfigError(f"controls={self.controls} should be a list of {', '.join(CONTROLS)}.")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ConfigError(
                f"name={self.name!r} should be letters, digits, dots, dashes: it names a folder of results."
            )

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
    return f"{label}-{control}-seed{seed}" if control != "none" else f"{label}-seed{seed}"


def study_name(config: DictConfig) -> str:
    """A study's folder: its name and a hash of all settings but scale, control, seed and what changes no result."""
    # Key by key: resolving the whole would also resolve `hydra.run.dir`, which asks for this name.
    plain = {str(key): _plain(config, str(key)) for key in config if key not in ("hydra", "logger")}
    settings = {key: value for key, value in plain.items() if key not in _NOT_RESULTS}
    chosen = ("scale", "control", "control_scale")
    settings["data"] = {key: value for key, value in plain["data"].items() if key not in chosen}
    settings["trainer"] = {"precision": plain["trainer"]["precision"]}
    settings["stage"] = {
        key: without_unused(value) for key, value in plain["stage"].items() if key not in ("peft", "max_missing")
    }
    if plain["stage"].get("peft") is not None:
        settings["peft"] = plain["stage"]["peft"]
    return f"{plain['name']}-{fingerprint(_without_paths(settings, plain['paths']))[:8]}"


def _plain(config: DictConfig, key: str) -> Any:
    node = config[key]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _without_paths(value: Any, paths: Mapping[str, str]) -> Any:
    """`value` with the machine's own folders replaced by their names, so that another machine gets the same study."""
    if isinstance(value, dict):
        return {str(key): _without_paths(item, paths) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item, paths) for item in value]
    if isinstance(value, str):
        for name, folder in paths.items():
            if value == folder or value.startswith(f"{folder}/"):
                return f"<{name}>{value[len(folder) :]}"
    return value


register(None, "train_schema", TrainConfig)
OmegaConf.register_new_resolver("sg.study", lambda *, _root_: study_name(_root_), replace=True)
OmegaConf.register_new_resolver("sg.run", run_name, replace=True)
