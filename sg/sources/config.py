"""Settings of the data that a study trains on, and their checks."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.paths import PathsConfig
from sg.core.scales import parse_scale
from sg.demo.config import DemoWorldConfig

CONTROLS = ("none", "equal_steps", "random")


@dataclass
class DataConfig:
    """What every source has.

    Attributes:
        name: names the data in folders and tables.
        dir: folder of its artefacts: manifest, captions, vectors, merge forest.
        videos: folder of its films.
        scale: captions to train on: 0, 50k, 100000, all.
        control: `none`, `equal_steps` (repeat the core until it has the steps of `control_scale`), or `random` (a
            random draw of the same size instead of the core).
        control_scale: the scale whose number of steps `equal_steps` takes.
        captions_per_k: videos that stand for a thousand captions of a scale; 1000 but in the demo world.
    """

    name: str = "???"
    dir: str = "???"
    videos: str = "???"
    scale: str = "all"
    control: str = "none"
    control_scale: str = "all"
    captions_per_k: int = 1000

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ConfigError(f"data.name={self.name!r} names a folder: expected letters, digits, dots and dashes.")
        if self.control not in CONTROLS:
            raise ConfigError(f"data.control={self.control!r} should be one of {', '.join(CONTROLS)}.")
        if self.captions_per_k < 1:
            raise ConfigError(f"data.captions_per_k={self.captions_per_k} should be at least 1.")
        parse_scale(self.scale)
        parse_scale(self.control_scale)

    @property
    def manifest_path(self) -> Path:
        """The manifest of this data."""
        return Path(self.dir) / "manifest.parquet"

    def captions_path(self, captioner: str) -> Path:
        """The captions that the captioner of this name wrote."""
        return Path(self.dir) / "captions" / captioner / "captions.parquet"

    def vectors_folder(self, embedder: str) -> Path:
        """The vectors that the embedder of this name made."""
        return Path(self.dir) / "embeddings" / embedder


@dataclass
class DemoDataConfig(DataConfig):
    """The procedural demo world; its films are rendered when they are first needed."""

    world: DemoWorldConfig = field(default_factory=DemoWorldConfig)


@dataclass
class FolderDataConfig(DataConfig):
    """Any folder of clips, with captions in a CSV, JSONL or JSON file.

    Attributes:
        captions: the caption file; null for clips without captions.
        video_column: column or key that names the clip; null finds one of the usual names.
        caption_column: column or key of the text; null finds one of the usual names.
        workers: processes that look at the clips; 0 takes one a core.
        timeout_s: seconds after which a clip that hangs its reader is given up.
        world: the demo world that the tiny model's dialogs and benchmark come from.
    """

    captions: str | None = None
    video_column: str | None = None
    caption_column: str | None = None
    workers: int = 0
    timeout_s: float = 300.0
    world: DemoWorldConfig = field(default_factory=lambda: DemoWorldConfig(videos_per_k=1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers < 0 or not self.timeout_s > 0:
            raise ConfigError(f"data.workers={self.workers} and data.timeout_s={self.timeout_s} should be positive.")


@dataclass
class SourcesConfig:
    """The settings of `python -m sg.sources`."""

    data: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)


register(None, "sources_schema", SourcesConfig)
register("data", "demo_schema", DemoDataConfig)
register("data", "folder_schema", FolderDataConfig)
