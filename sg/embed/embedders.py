"""What turns the frames of a film into a vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sg.core.errors import ConfigError, MissingInputError
from sg.core.fingerprints import file_hash
from sg.embed.config import (
    DemoEmbedderConfig,
    EfficientNetLiteConfig,
    EmbedderConfig,
    InternVideo2Config,
    TransformersEmbedderConfig,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embedder(Protocol):
    """A model that gives unit vectors; see `identity` for what is recorded of it."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""


def identity(config: EmbedderConfig) -> dict[str, Any]:
    """Everything that decides about the vectors, without loading a model: vectors of another identity do not mix.

    Raises:
        MissingInputError: the weights are not there.
    """
    return {
        "embedder": config.name,
        **_model_identity(config),
        "num_frames": config.num_frames,
        "image_size": config.image_size,
        "sampling": "middle_of_segments",
        "resize": "bicubic, antialiased" if config.antialias else "bicubic",
        "reader": "pyav" if config.reader == "auto" else config.reader,
    }


def build_embedder(config: EmbedderConfig) -> Embedder:
    """Load the model of a config."""
    if isinstance(config, EfficientNetLiteConfig):
        from sg.embed.efficientnet_lite import EfficientNetLiteEmbedder

        return EfficientNetLiteEmbedder(config)
    if isinstance(config, DemoEmbedderConfig):
        from sg.embed.demo import DemoEmbedder

        return DemoEmbedder(config)
    if isinstance(config, InternVideo2Config):
        from sg.embed.internvideo2 import InternVideo2Embedder

        return InternVideo2Embedder(config)
    if isinstance(config, TransformersEmbedderConfig):
        from sg.embed.transformers_models import TransformersEmbedder

        return TransformersEmbedder(config)
    raise _unknown(config)


def _model_identity(config: EmbedderConfig) -> dict[str, Any]:
    if isinstance(config, EfficientNetLiteConfig):
        from sg.embed.efficientnet_lite import efficientnet_lite_identity

        return efficientnet_lite_identity()
    if isinstance(config, DemoEmbedderConfig):
        weights = Path(config.checkpoint) / "model.safetensors"
        if not weights.is_file():
            raise MissingInputError(
                f"There is no vision tower {weights}: build the demo's assets with `python -m sg.demo.pretrain`, or "
                "name a folder with embedder.checkpoint=DIR."
            )
        return {"model": "demo vision tower", "revision": file_hash(weights), "pooling": "mean and maximum of patches"}
    if isinstance(config, InternVideo2Config):
        from sg.embed.internvideo2 import internvideo2_identity

        return internvideo2_identity(config)
    if isinstance(config, TransformersEmbedderConfig):
        from sg.embed.transformers_models import transformers_identity

        return transformers_identity(config)
    raise _unknown(config)


def _unknown(config: EmbedderConfig) -> ConfigError:
    return ConfigError(f"embedder={config.name} has no model: expected one of conf/embedder.")
