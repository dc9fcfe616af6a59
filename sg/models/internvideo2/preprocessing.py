"""Normalises pixels for InternVideo2, with the statistics of ImageNet."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sg.models.pixels import IMAGENET_MEAN, IMAGENET_STD


def normalise(frames: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> Tensor:
    """(frames / 255 - mean) / std, float32 [..., 3, H, W], for frames uint8 [..., H, W, 3] at the model's size."""
    pixels = frames.movedim(-1, -3).float() / 255
    shape = (3, 1, 1)
    return (pixels - torch.tensor(mean, device=pixels.device).view(shape)) / torch.tensor(
        std, device=pixels.device
    ).view(shape)
