"""The embedder of the demo: the patch features of a small vision tower, pooled over all frames of a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.content import file_content
from sg.core.errors import MissingInputError, ModelError
from sg.core.identity import NOT_IDENTITY
from sg.embed.registry import EMBEDDERS
from sg.embed.settings import EmbedderConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class DemoEmbedderConfig(EmbedderConfig):
    """The vision tower of the demo, its patch features pooled over frames and patches.

    Attributes:
        checkpoint: folder of the CLIP vision tower.
    """

    name: str = field(default="demo", metadata=NOT_IDENTITY)
    image_size: int = 64
    checkpoint: str = field(default="???", metadata=NOT_IDENTITY)


@EMBEDDERS.register("demo", DemoEmbedderConfig)
class DemoEmbedder:
    """Mean and maximum of the tower's features (last layer but one), each of unit length, side by side."""

    def __init__(self, config: DemoEmbedderConfig) -> None:
        from sg.embed.devices import use_device

        self._device = use_device(config)
        self._tower = _load_tower(config.checkpoint).to(self._device)
        settings = self._tower.config
        if settings.image_size != config.image_size:
            raise ModelError(
                f"embedder.image_size={config.image_size}, but the tower takes {settings.image_size} pixels a side."
            )
        self.dim = 2 * int(settings.hidden_size)

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        import torch
        from torch.nn.functional import normalize

        from sg.models.internvideo2.preprocessing import normalise
        from sg.models.pixels import CLIP_MEAN, CLIP_STD

        batch, time = frames.shape[:2]
        with torch.inference_mode():
            pixels = normalise(torch.from_numpy(frames).to(self._device).flatten(0, 1), CLIP_MEAN, CLIP_STD)
            hidden = self._tower(pixels, output_hidden_states=True).hidden_states[-2]
            patches = hidden[:, 1:].reshape(batch, time * (hidden.shape[1] - 1), -1)  # [B, T * patches, width]
            pooled = torch.cat([normalize(patches.mean(1), dim=-1), normalize(patches.amax(1), dim=-1)], dim=-1)
            vectors: NDArray[np.float32] = normalize(pooled, dim=-1).float().cpu().numpy()
        return vectors

    @staticmethod
    def model_facts(config: DemoEmbedderConfig) -> dict[str, Any]:
        """The content of the weights, and the pooling."""
        weights = Path(config.checkpoint) / "model.safetensors"
        if not weights.is_file():
            raise MissingInputError(
                f"There is no vision tower {weights}: build the demo's assets with `python -m sg.demo.pretrain`, or "
                "name a folder with embedder.checkpoint=DIR."
            )
        pooling = "mean and maximum of patches"
        return {"model": "demo vision tower", "revision": file_content(weights), "pooling": pooling}


def _load_tower(folder: str) -> Any:
    from transformers import CLIPVisionModel
    from transformers.utils import logging as transformers_logging

    quiet: Any = transformers_logging
    quiet.disable_progress_bar()  # the command shows a bar of its own, which counts videos
    try:
        return CLIPVisionModel.from_pretrained(folder)  # from_pretrained switches dropout off
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} is not a CLIP vision tower: {str(error).splitlines()[0]}") from error
