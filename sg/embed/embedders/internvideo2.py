"""InternVideo2's vision tower as an embedder (`docs/reference/internvideo2.md`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sg.core.content import file_content
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.embed.registry import EMBEDDERS
from sg.embed.settings import PublishedEmbedderConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILES = ("weights", "head")


@dataclass
class InternVideo2Config(PublishedEmbedderConfig):
    """InternVideo2's vision tower. Its files are paths on this machine, or OWNER/REPOSITORY/FILE on the model hub.

    Attributes:
        weights: the tower's file (Stage 2: the only one).
        head: file of the CLIP models' own attention pool and projection, which replace those of the tower; null for
            Stage 2.
        projection: projection into the shared space: `vision_proj` (Stage 2), `vision_align` (CLIP S, B, L), `none`
            (CLIP 1B).
        output: `embedding`, in the shared space; `pooled`, before the projection; `patches`, mean of the patch tokens.
        gelu: `tanh`, as in training and in the published scores, or `erf`.
        num_heads: attention heads; null if the tower's width is a published one.
        depth: blocks; null if the tower's width is a published one.
        pool_heads: heads of the attention pool.
        trained_frames: frames of the file's position table; null derives them.
    """

    weights: str = field(default="???", metadata=NOT_IDENTITY)
    head: str | None = field(default=None, metadata=NOT_IDENTITY)
    projection: str = "vision_proj"
    output: str = "embedding"
    gelu: str = "tanh"
    num_heads: int | None = None
    depth: int | None = None
    pool_heads: int = 16
    trained_frames: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("embedder.projection", self.projection, ("vision_proj", "vision_align", "none"))
        check_choice("embedder.output", self.output, ("embedding", "pooled", "patches"))
        check_choice("embedder.gelu", self.gelu, ("tanh", "erf"))
        for key in ("num_heads", "depth", "pool_heads", "trained_frames"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise ConfigError(f"embedder.{key}={getattr(self, key)} should be at least 1.")


@EMBEDDERS.register("internvideo2", InternVideo2Config)
class InternVideo2Embedder:
    """A published vision tower; its vectors are those of the config's `output`."""

    def __init__(self, config: InternVideo2Config) -> None:
        from sg.embed.devices import pick_dtype, use_device
        from sg.models.hub_files import weights_file
        from sg.models.internvideo2.checkpoint import TowerChoice, load_internvideo2

        self._device = use_device(config)
        self._dtype = pick_dtype(config.dtype, self._device)
        choice = TowerChoice(
            projection=config.projection,
            gelu=config.gelu,
            num_heads=config.num_heads,
            depth=config.depth,
            pool_heads=config.pool_heads,
            trained_frames=config.trained_frames,
            frames_hint=config.num_frames,
        )
        head = None if config.head is None else weights_file(config.head, "embedder.head", config.revision)
        model = load_internvideo2(weights_file(config.weights, "embedder.weights", config.revision), head, choice)
        sizes = model.vision_encoder.sizes
        if config.image_size % sizes.patch_size or config.num_frames % sizes.tubelet:
            raise ConfigError(
                f"embedder.image_size={config.image_size} and embedder.num_frames={config.num_frames} do not divide "
                f"into patches of {sizes.patch_size} pixels and {sizes.tubelet} frames."
            )
        self._model = model.to(self._device, self._dtype)
        self._output = config.output
        self.dim = model.dim(config.output)

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        import torch

        from sg.models.internvideo2.preprocessing import normalise

        with torch.inference_mode():
            pixels = normalise(torch.from_numpy(frames).to(self._device)).to(self._dtype)
            vectors: NDArray[np.float32] = self._model(pixels, self._output).cpu().numpy()
        return vectors

    @staticmethod
    def model_facts(config: InternVideo2Config) -> dict[str, Any]:
        """The content of the weights, the data type in which they compute, and the pixel statistics."""
        from sg.embed.devices import dtype_name
        from sg.models.hub_files import weights_file
        from sg.models.pixels import IMAGENET_MEAN, IMAGENET_STD

        names = {key: getattr(config, key) for key in _FILES if getattr(config, key) is not None}
        paths = {key: weights_file(name, f"embedder.{key}", config.revision) for key, name in names.items()}
        return {
            "model": f"InternVideo2, {config.projection}, {config.gelu} GELU",
            "revision": {key: file_content(path) for key, path in paths.items()},
            "dtype": dtype_name(config.dtype, config.device),
            "pixel_mean": list(IMAGENET_MEAN),
            "pixel_std": list(IMAGENET_STD),
        }
