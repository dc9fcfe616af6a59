"""Settings of the embedders and of the command."""

import re
from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.paths import PathsConfig

DTYPES = ("auto", "float32", "bfloat16", "float16")
ENGINES = ("local", "ray")
FAMILIES = ("clip", "siglip2", "videoprism", "vjepa2")


@dataclass
class EmbedderConfig:
    """What every embedder has.

    Attributes:
        name: names the vectors in folders and tables.
        num_frames: frames of a film that the model sees, from the middles of equal parts.
        image_size: width and height that they are resized to, the aspect ratio not kept.
        antialias: smooth while resizing.
        reader: frame reader: auto, pyav, decord, torchcodec.
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
class PublishedEmbedderConfig(EmbedderConfig):
    """What embedders with published weights have.

    Attributes:
        dtype: type of the weights: `auto` is bfloat16 on a GPU and float32 on a CPU.
        revision: branch, tag or commit of a hub repository; null for its main branch.
        replace: make vectors of other settings in the same folder anew; without it they are kept and the run refuses.
    """

    dtype: str = "auto"
    revision: str | None = None
    replace: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice(self, "dtype", DTYPES)


@dataclass
class InternVideo2Config(PublishedEmbedderConfig):
    """InternVideo2's vision tower. Its files are paths on this machine, or OWNER/REPOSITORY/FILE on the model hub.

    Attributes:
        weights: the tower's file (Stage 2: the only one).
        head: file of the CLIP models' own attention pool and projection, laid over the tower's; null for Stage 2.
        projection: way into the shared space: `vision_proj` (Stage 2), `vision_align` (CLIP S, B, L), `none` (CLIP 1B).
        output: `embedding`, in the shared space; `pooled`, before the projection; `patches`, mean of the patch tokens.
        gelu: `tanh`, as in training and in the published scores, or `erf`.
        num_heads: attention heads; null where the tower's width is a published one.
        depth: blocks; null where the tower's width is a published one.
        pool_heads: heads of the attention pool.
        trained_frames: frames of the file's position table; null derives them.
    """

    weights: str = "???"
    head: str | None = None
    projection: str = "vision_proj"
    output: str = "embedding"
    gelu: str = "tanh"
    num_heads: int | None = None
    depth: int | None = None
    pool_heads: int = 16
    trained_frames: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice(self, "projection", ("vision_proj", "vision_align", "none"))
        _check_choice(self, "output", ("embedding", "pooled", "patches"))
        _check_choice(self, "gelu", ("tanh", "erf"))
        for key in ("num_heads", "depth", "pool_heads", "trained_frames"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise ConfigError(f"embedder.{key}={getattr(self, key)} should be at least 1.")


@dataclass
class TransformersEmbedderConfig(PublishedEmbedderConfig):
    """A model that the transformers library has.

    Attributes:
        family: `clip` and `siglip2` see single frames, whose vectors are averaged; `videoprism` and `vjepa2` see films.
        checkpoint: folder on this machine, or OWNER/REPOSITORY on the model hub.
        pixel_mean: subtracted from red, green and blue between 0 and 1.
        pixel_std: what they are divided by then.
    """

    family: str = "???"
    checkpoint: str = "???"
    pixel_mean: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    pixel_std: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice(self, "family", FAMILIES)
        if len(self.pixel_mean) != 3 or len(self.pixel_std) != 3 or min(self.pixel_std) <= 0:
            raise ConfigError("embedder.pixel_mean and embedder.pixel_std are three numbers each, the second above 0.")


@dataclass
class EmbedConfig:
    """The settings of `python -m sg.embed`.

    Attributes:
        engine: `local`, or `ray` for a Ray cluster (the one that RAY_ADDRESS names, else one on this machine).
    """

    data: Any = None
    embedder: Any = None
    engine: str = "local"
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"engine={self.engine!r} should be one of {', '.join(ENGINES)}.")


def _check_choice(config: EmbedderConfig, key: str, choices: tuple[str, ...]) -> None:
    if getattr(config, key) not in choices:
        raise ConfigError(f"embedder.{key}={getattr(config, key)!r} should be one of {', '.join(choices)}.")


register(None, "embed_schema", EmbedConfig)
register("embedder", "efficientnet_lite0_schema", EfficientNetLiteConfig)
register("embedder", "demo_schema", DemoEmbedderConfig)
register("embedder", "internvideo2_schema", InternVideo2Config)
register("embedder", "transformers_schema", TransformersEmbedderConfig)
