"""Settings of the embedders and of the command."""

import re
from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.paths import PathsConfig


@dataclass
class EmbedderConfig:
    """What every embedder has.

    Attributes:
        name: names the vectors in folders and tables.
        num_frames: frames of a film that the model sees, from the middles of equal parts.
        image_size: width and height that they are resized to, the aspect ratio not kept.
        antialias: smooth while resizing.
        reader: frame reader: auto, pyav, decord.
        batch_size: films that go through the model at once.
        rows_per_part: films in a part of the result; a killed run loses at most the parts that it was at.
        workers: processes that decode; 0 takes one a core.
        timeout_s: seconds after which a film that hangs its reader is given up.
        device: `auto` takes a GPU when there is one; or cpu, cuda, cuda:1.
        num_threads: threads of the model on a CPU; 0 leaves torch's own choice.
    """

    name: str = "???"
    num_frames: int = 8
    image_size: int = 224
    antialias: bool = True
    reader: str = "auto"
    batch_size: int = 32
    rows_per_part: int = 1000
    workers: int = 0
    timeout_s: float = 300.0
    device: str = "auto"
    num_threads: int = 1

    def __post_init__(self) -> None:
        from sg.video.reader import check_backend

        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ConfigError(f"embedder.name={self.name!r} names a folder: expected letters, digits, dots and dashes.")
        for key in ("num_frames", "image_size", "batch_size", "rows_per_part"):
            if getattr(self, key) < 1:
                raise ConfigError(f"embedder.{key}={getattr(self, key)} should be at least 1.")
        for key in ("workers", "num_threads"):
            if getattr(self, key) < 0:
                raise ConfigError(f"embedder.{key}={getattr(self, key)} should be at least 0.")
        if not self.timeout_s > 0:
            raise ConfigError(f"embedder.timeout_s={self.timeout_s} should be above 0.")
        check_backend(self.reader)


@dataclass
class EfficientNetLiteConfig(EmbedderConfig):
    """EfficientNet-Lite0, trained on ImageNet, from two packages (the extra `real-clips`)."""

    name: str = "efficientnet_lite0"


@dataclass
class DemoEmbedderConfig(EmbedderConfig):
    """The demo's vision tower, its patch features pooled over frames and patches.

    Attributes:
        checkpoint: folder of the CLIP vision tower.
    """

    name: str = "demo"
    image_size: int = 64
    checkpoint: str = "???"


@dataclass
class EmbedConfig:
    """The settings of `python -m sg.embed`."""

    data: Any = None
    embedder: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)


register(None, "embed_schema", EmbedConfig)
register("embedder", "efficientnet_lite0_schema", EfficientNetLiteConfig)
register("embedder", "demo_schema", DemoEmbedderConfig)
