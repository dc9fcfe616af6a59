"""Embedders from the transformers library: CLIP and SigLIP 2 frame by frame, VideoPrism and V-JEPA 2 video by video."""

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

POOLING = {
    "clip": "mean of the frames' unit vectors",
    "siglip2": "mean of the frames' unit vectors",
    "videoprism": "the model's own",
    "vjepa2": "mean of the tokens",
}
"""The families, and how each makes one vector per video."""
_KEY = "embedder.checkpoint"


@dataclass
class TransformersEmbedderConfig(PublishedEmbedderConfig):
    """A model of the transformers library.

    Attributes:
        family: `clip` and `siglip2` see single frames, whose vectors are averaged; `videoprism` and `vjepa2` see whole
            videos.
        checkpoint: folder on this machine, or OWNER/REPOSITORY on the model hub.
        pixel_mean: subtracted from red, green and blue, which lie between 0 and 1.
        pixel_std: what the differences are divided by.
    """

    family: str = "???"
    checkpoint: str = field(default="???", metadata=NOT_IDENTITY)
    pixel_mean: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    pixel_std: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("embedder.family", self.family, tuple(POOLING))
        if len(self.pixel_mean) != 3 or len(self.pixel_std) != 3 or min(self.pixel_std) <= 0:
            raise ConfigError("embedder.pixel_mean and embedder.pixel_std are three numbers each, the second above 0.")


@EMBEDDERS.register("transformers", TransformersEmbedderConfig)
class TransformersEmbedder:
    """A model of one of the four families, loaded from a folder or the hub."""

    def __init__(self, config: TransformersEmbedderConfig) -> None:
        import numpy as np

        from sg.embed.devices import pick_dtype, use_device
        from sg.embed.transformers_models import load_vision_model
        from sg.models.hub_files import checkpoint_folder

        self._device = use_device(config)
        self._dtype = pick_dtype(config.dtype, self._device)
        folder = checkpoint_folder(config.checkpoint, _KEY, config.revision)
        model = load_vision_model(folder, config.family, config.image_size, config.num_frames)
        self._model = model.to(self._device, self._dtype)
        self._family = config.family
        self._statistics = config.pixel_mean, config.pixel_std
        probe = np.zeros((1, config.num_frames, config.image_size, config.image_size, 3), np.uint8)
        self.dim = int(self.embed(probe).shape[1])

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        import torch
        from torch.nn.functional import normalize

        from sg.embed.transformers_models import VECTORS
        from sg.models.internvideo2.preprocessing import normalise

        with torch.inference_mode():
            pixels = normalise(torch.from_numpy(frames).to(self._device), *self._statistics).to(self._dtype)
            vectors = VECTORS[self._family](self._model, pixels).float()
            unit: NDArray[np.float32] = normalize(vectors, dim=-1).cpu().numpy()
        return unit

    @staticmethod
    def model_facts(config: TransformersEmbedderConfig) -> dict[str, Any]:
        """The content of `config.json` and the weights, and the data type in which they compute."""
        from sg.embed.devices import dtype_name
        from sg.models.hub_files import checkpoint_folder
        from sg.models.weight_files import checkpoint_files

        folder = checkpoint_folder(config.checkpoint, _KEY, config.revision)
        files = [folder / "config.json", *checkpoint_files(folder)]
        return {
            "model": config.family,
            "revision": {path.name: file_content(path) for path in files if path.is_file()},
            "dtype": dtype_name(config.dtype, config.device),
            "pixel_mean": [float(value) for value in config.pixel_mean],
            "pixel_std": [float(value) for value in config.pixel_std],
            "pooling": POOLING[config.family],
        }
