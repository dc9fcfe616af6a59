"""InternVideo2 as an embedder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sg.core.errors import ConfigError
from sg.core.fingerprints import file_hash
from sg.embed.config import InternVideo2Config
from sg.embed.devices import pick_device, pick_dtype
from sg.models.hub_files import weights_file
from sg.models.internvideo2.checkpoint import TowerChoice, load_internvideo2
from sg.models.internvideo2.preprocessing import normalise
from sg.models.pixels import IMAGENET_MEAN, IMAGENET_STD

_FILES = ("weights", "head")


class InternVideo2Embedder:
    """A published vision tower; vectors of the config's `output`."""

    def __init__(self, config: InternVideo2Config) -> None:
        self._device = pick_device(config.device)
        self._dtype = pick_dtype(config.dtype, self._device)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
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

    @torch.inference_mode()
    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        pixels = normalise(torch.from_numpy(frames).to(self._device)).to(self._dtype)
        vectors: NDArray[np.float32] = self._model(pixels, self._output).cpu().numpy()
        return vectors


def internvideo2_identity(config: InternVideo2Config) -> dict[str, Any]:
    """What decides about its vectors: weights by their hashes, projection, numbers, preprocessing."""
    files = {key: getattr(config, key) for key in _FILES if getattr(config, key) is not None}
    paths = {key: weights_file(name, f"embedder.{key}", config.revision) for key, name in files.items()}
    return {
        "model": f"InternVideo2, {config.projection}, {config.gelu} GELU",
        "output": config.output,
        "files": {key: path.name for key, path in paths.items()},
        "revision": {key: file_hash(path) for key, path in paths.items()},
        "dtype": str(pick_dtype(config.dtype, pick_device(config.device))).removeprefix("torch."),
        "pixel_mean": list(IMAGENET_MEAN),
        "pixel_std": list(IMAGENET_STD),
        "heads": [config.num_heads, config.pool_heads],
        "depth": config.depth,
        "trained_frames": config.trained_frames,
    }
