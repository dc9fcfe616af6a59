"""Converts decoded frames to the pixel values of the tower, bitwise equal to the published PIL pipeline.

See `docs/reference/chat_univi.md`, section 12. transformers' default CLIP processor is not used: with
torchvision installed it resizes differently, up to 0.03 away from the pixels that the model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import PreTrainedConfig

from sg.core.mistakes import check_choice
from sg.models.chat_univi.settings import ASPECTS
from sg.models.pixels import CLIP_MEAN, CLIP_STD, SIGLIP_MEAN, SIGLIP_STD
from sg.video.sampling import OneFps

PAD_COLOUR = (122, 116, 104)
"""CLIP's mean pixel, as the reference pads."""

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class ChatUniViProcessor:
    """Chooses frames and turns them into pixel values.

    Attributes:
        size: side of the tower's input in pixels.
        aspect: `square` crops wide frames to a square (as v1.5 was trained), `pad` pads them.
        frames: the sampling of frames; about one per second, at most 64.
    """

    size: int = 336
    aspect: str = "square"
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    frames: OneFps = field(default_factory=OneFps)

    def __post_init__(self) -> None:
        check_choice("model.image_aspect_ratio", self.aspect, ASPECTS)
        # One table entry per pixel value and channel: float32 steps in the order of the reference, so that the rounding
        # is the same.
        values = np.arange(256).astype(np.float64) * (1 / 255)
        table = (values.astype(np.float32)[:, None] - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        object.__setattr__(self, "_table", torch.from_numpy(table))

    @classmethod
    def of_tower(
        cls, tower: PreTrainedConfig, aspect: str = "square", frames: OneFps | None = None
    ) -> ChatUniViProcessor:
        """The processor for a CLIP or SigLIP tower."""
        mean, std = (SIGLIP_MEAN, SIGLIP_STD) if "siglip" in tower.model_type else (CLIP_MEAN, CLIP_STD)
        return cls(tower.image_size, aspect, mean, std, frames or OneFps())

    def pixel_values(self, frames: Frame) -> Tensor:
        """Normalised pixels, float32 [T, 3, size, size], of `frames` uint8 [T, H, W, 3] or one image [H, W, 3]."""
        frames = frames[None] if frames.ndim == 3 else frames
        squares = torch.from_numpy(np.stack([self._square(frame) for frame in frames])).permute(0, 3, 1, 2)
        table: Tensor = self._table  # type: ignore[attr-defined]  # set in __post_init__ of a frozen class
        return torch.stack([table[:, channel][squares[:, channel].long()] for channel in range(3)], dim=1)

    def _square(self, frame: Frame) -> Frame:
        """The frame resized (shorter side to `size`, PIL bicubic) and cropped at its centre, uint8 [size, size, 3]."""
        frame = _on_a_square(frame) if self.aspect == "pad" else frame
        height, width = frame.shape[:2]
        short = min(height, width)
        if short != self.size:
            wanted = (int(self.size * width / short), int(self.size * height / short))
            frame = np.asarray(Image.fromarray(frame).resize(wanted, Image.Resampling.BICUBIC))
            height, width = frame.shape[:2]
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return frame[top : top + self.size, left : left + self.size]


def _on_a_square(frame: Frame) -> Frame:
    """The whole frame in the centre of a square of the mean colour."""
    height, width = frame.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = PAD_COLOUR
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square
