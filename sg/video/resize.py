"""Bicubic resizing of decoded frames to a given size, as in InternVideo2's pipeline (the aspect ratio is not kept).

The results are those of `torch.nn.functional.interpolate`: bit for bit with antialiasing, and without it except where a
half is rounded differently. The compiled passes here exist for two reasons (`benchmarks/video/resize.py`). The float
kernel of torch takes a fifth of the time from a short clip to the model's pixels, and its uint8 kernel rounds between
the two directions, which changes values by up to ten grey levels. And a process that only decodes does not import
torch, which takes 190 MB and two seconds.
"""

from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 16


def resize(frames: NDArray[np.uint8], height: int, width: int, antialias: bool = True) -> NDArray[np.uint8]:
    """Return uint8 [T, H, W, 3] frames as uint8 [T, height, width, 3].

    The published vectors were made with `antialias=False`. Antialiasing keeps more detail where a video is much larger
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
    """For each of `wanted` new positions: the first old position with a weight [wanted], and k weights [wanted, k]."""
    positions, weights = _antialiased(size, wanted) if antialias else _interpolated(size, wanted)
    table = np.zeros((wanted, size), np.float32)
    np.add.at(
        table, (np.arange(wanted)[:, None], positions.clip(0, size - 1)), weights
    )  # positions outside take the border's value
    counts = table != 0
    first, last = counts.argmax(axis=1), size - counts[:, ::-1].argmax(axis=1)
    most = int((last - first).max())
    first = np.minimum(first, size - most)
    return first, np.take_along_axis(table, first[:, None] + np.arange(most), axis=1)


def _antialiased(size: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Old positions and their weights, both [wanted, n]; the kernel is widened by the factor of the reduction."""
    scale = np.float32(size) / np.float32(wanted)
    stretch = max(scale, np.float32(1))
    centre = (np.float64(scale) * (np.arange(wanted) + 0.5)).astype(np.float32)
    first = np.maximum((centre - 2 * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + 2 * stretch + 0.5).astype(np.int64), size)
    positions = first[:, None] + np.arange((last - first).max())
    distance = (positions.astype(np.float32) - centre[:, None]).astype(np.float64) + 0.5
    weights = _cubic((distance * (np.float32(1) / stretch)).astype(np.float32), np.float32(-0.5))
    weights[positions >= last[:, None]] = 0
    total: NDArray[np.float32] = weights.cumsum(axis=1)[:, -1:]  # summed one after the other, as torch does
    return positions, weights / total


def _interpolated(size: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The four nearest old positions and their weights, both [wanted, 4]."""
    scale = np.float32(size) / np.float32(wanted)
    place = _fused(scale, np.arange(wanted) + np.float32(0.5), np.float32(-0.5))
    before = np.floor(place)
    past = (place - before)[:, None]
    distances = np.concatenate([past + 1, past, 1 - past, 2 - past], axis=1)
    return before.astype(np.int64)[:, None] + np.arange(-1, 3), _cubic(distances, np.float32(-0.75))


def _cubic(distance: NDArray[np.float32], a: np.float32) -> NDArray[np.float32]:
    """Keys' cubic kernel, rounded after every fused multiply-add as in torch."""
    x = np.abs(distance)
    near = _fused(_fused(a + 2, x, -(a + 3)) * x, x, 1)
    far = _fused(_fused(_fused(a, x, -5 * a), x, 8 * a), x, -4 * a)
    kernel: NDArray[np.float32] = np.where(x < 1, near, np.where(x < 2, far, np.float32(0)))
    return kernel


def _fused(factor: Any, x: Any, summand: Any) -> NDArray[np.float32]:
    """`factor * x + summand` in float32, rounded once: the product of two float32 numbers is exact in float64."""
    result: NDArray[np.float32] = (np.float64(factor) * x + summand).astype(np.float32)
    return result


@numba.njit(inline="always")
def _weighted_sum(lines, first, weights, total):  # type: ignore[no-untyped-def]
    """Set `total` [n] to the weighted sum of the `lines` [m, n] from `first` on, one per weight."""
    total[:] = 0
    for k in range(len(weights)):
        weight, line = weights[k], lines[first + k]
        for lane in range(len(total)):
            total[lane] += weight * line[lane]


@numba.njit(cache=True, nogil=True)
def _resample(frames, first_x, weights_x, first_y, weights_y, resized):  # type: ignore[no-untyped-def]
    """Fill `resized` [T, h, w, 3]: first along the rows, then along the columns.

    Sixteen rows at a time are transposed, so that the inner loops run over adjacent memory. Sums are taken in the order
    of the old positions and without fast math: only then are the roundings the same as those of torch.
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
