"""Resizing decoded frames, in the way InternVideo2's pipeline does: straight to the wanted size, bicubic.

The numbers are those of `torch.nn.functional.interpolate`, whose weights are used. Its float kernel takes a fifth of
all the time between a short clip and the model's pixels, hence the compiled passes here (`benchmarks/video/resize.py`);
its uint8 kernel is fast, but rounds between the two directions and is off by up to ten grey levels.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 16
_POSITIONS_AT_ONCE = 512


def resize(frames: NDArray[np.uint8], height: int, width: int, antialias: bool = True) -> NDArray[np.uint8]:
    """Frames uint8 [T, H, W, 3] at another size, the aspect ratio not kept.

    `antialias=False` is what the published vectors were made with; antialiasing loses less when a film is much larger
    than the model's picture.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    resized = np.empty((len(frames), height, width, 3), np.uint8)
    across, down = _taps(frames.shape[2], width, antialias), _taps(frames.shape[1], height, antialias)
    _resample(np.ascontiguousarray(frames), *across, *down, resized)
    return resized


@lru_cache(maxsize=32)
def _taps(size: int, wanted: int, antialias: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of `wanted` new positions: the first old one that counts [wanted], and weights [wanted, k] from it on.

    Weights are read off what torch makes of pictures in which one position is lit.
    """
    import torch
    from torch.nn.functional import interpolate

    parts = []
    for start in range(0, size, _POSITIONS_AT_ONCE):
        lit = torch.eye(size)[start : start + _POSITIONS_AT_ONCE, None, None, :]
        parts.append(interpolate(lit, (1, wanted), mode="bicubic", align_corners=False, antialias=antialias)[:, 0, 0])
    weights: NDArray[np.float32] = torch.cat(parts).T.contiguous().numpy()
    counts = weights != 0
    first, last = counts.argmax(axis=1), size - counts[:, ::-1].argmax(axis=1)
    most = int((last - first).max())
    first = np.minimum(first, size - most)
    return first, np.take_along_axis(weights, first[:, None] + np.arange(most), axis=1)


@numba.njit(cache=True, nogil=True)
def _weighted_sum(lines, first, weights, total):  # type: ignore[no-untyped-def]
    """Make `total` [n] the sum of as many `lines` [m, n] as there are `weights`, from the line `first` on."""
    total[:] = 0
    for k in range(len(weights)):
        weight, line = weights[k], lines[first + k]
        for lane in range(len(total)):
            total[lane] += weight * line[lane]


@numba.njit(cache=True, nogil=True)
def _resample(frames, first_x, weights_x, first_y, weights_y, resized):  # type: ignore[no-untyped-def]
    """Fill `resized` [T, h, w, 3]: across the rows, then down the columns, sums in the order of the old positions.

    Some rows at a time are turned, so that the inner loops run over neighbours in memory. Without fast math the order
    and the roundings are torch's.
    """
    count, height, width, _ = frames.shape
    new_height, new_width = resized.shape[1:3]
    turned = np.zeros((width, _ROWS_AT_ONCE * 3), np.float32)
    sums = np.empty(_ROWS_AT_ONCE * 3, np.float32)
    narrow = np.empty((height, new_width * 3), np.float32)
    line = np.empty(new_width * 3, np.float32)
    for t in range(count):
        for top in range(0, height, _ROWS_AT_ONCE):
            rows = min(_ROWS_AT_ONCE, height - top)
            for y in range(rows):
                for x in range(width):
                    for c in range(3):
                        turned[x, y * 3 + c] = frames[t, top + y, x, c]
            for x in range(new_width):
                _weighted_sum(turned, first_x[x], weights_x[x], sums)
                for y in range(rows):
                    for c in range(3):
                        narrow[top + y, x * 3 + c] = sums[y * 3 + c]
        for y in range(new_height):
            _weighted_sum(narrow, first_y[y], weights_y[y], line)
            for x in range(new_width):
                for c in range(3):
                    value = min(max(line[x * 3 + c], np.float32(0)), np.float32(255))
                    resized[t, y, x, c] = np.uint8(np.rint(value))
