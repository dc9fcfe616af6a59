"""Pixels as InternVideo2 takes them: ImageNet's statistics on frames that were resized to the model's picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sg.models.pixels import IMAGENET_MEAN, IMAGENET_STD


def normalise(frames: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> Tensor:
    """Frames uint8 [..., H, W, 3] as float32 [..., 3, H, W]: divided by 255, less `mean`, divided by `std`."""
    pixels = frames.movedim(-1, -3).float() / 255
    shape = (3, 1, 1)
    return (pixels - torch.tensor(mean, device=pixels.device).view(shape)) / torch.tensor(
        std, device=pixels.device
    ).view(shape)
