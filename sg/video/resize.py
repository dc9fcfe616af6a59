"""Resizing decoded frames, in the way InternVideo2's pipeline does: straight to the wanted size, bicubic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def resize(frames: NDArray[np.uint8], height: int, width: int, antialias: bool = True) -> NDArray[np.uint8]:
    """Frames uint8 [T, H, W, 3] at another size, the aspect ratio not kept.

    `antialias=False` is what the published vectors were made with; antialiasing loses less when a film is much larger
    than the model's picture.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    import torch
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    resized = interpolate(pixels, (height, width), mode="bicubic", align_corners=False, antialias=antialias)
    values: NDArray[np.uint8] = resized.clamp(0, 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return values
