"""The demo's embedder: the patches of a small vision tower, pooled over all frames of a film."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize
from transformers import CLIPVisionModel
from transformers.utils import logging as transformers_logging

from sg.core.errors import ModelError
from sg.embed.config import DemoEmbedderConfig
from sg.embed.devices import pick_device
from sg.models.pixels import CLIP_MEAN, CLIP_STD


class DemoEmbedder:
    """Mean and maximum of the tower's features (last layer but one), each of unit length, side by side."""

    def __init__(self, config: DemoEmbedderConfig) -> None:
        self._device = pick_device(config.device)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        self._tower = _load_tower(config.checkpoint).to(self._device)
        settings = self._tower.config
        if settings.image_size != config.image_size:
            raise ModelError(
                f"embedder.image_size={config.image_size}, but the tower takes {settings.image_size} pixels a side."
            )
        self.dim = 2 * int(settings.hidden_size)

    @torch.inference_mode()
    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""
        batch, time = frames.shape[:2]
        pixels = torch.from_numpy(frames).to(self._device).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(CLIP_MEAN, device=self._device).view(3, 1, 1)
        std = torch.tensor(CLIP_STD, device=self._device).view(3, 1, 1)
        hidden = self._tower((pixels - mean) / std, output_hidden_states=True).hidden_states[-2]
        patches = hidden[:, 1:].reshape(batch, time * (hidden.shape[1] - 1), -1)  # [B, T * patches, width]
        pooled = torch.cat([normalize(patches.mean(1), dim=-1), normalize(patches.amax(1), dim=-1)], dim=-1)
        vectors: NDArray[np.float32] = normalize(pooled, dim=-1).float().cpu().numpy()
        return vectors


def _load_tower(folder: str) -> Any:
    hush: Any = transformers_logging
    hush.disable_progress_bar()  # the bar that counts films is enough
    try:
        return CLIPVisionModel.from_pretrained(folder)  # from_pretrained switches dropout off
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} is no CLIP vision tower: {str(error).splitlines()[0]}") from error
