"""Position tables: initial values, and resizing to other numbers of frames and patches.

A table has the shape [1, 1 + T * h * w, D]: the class entry, then the entries of frames, rows and columns in this
order.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sg.core.errors import ModelError


def sine_cosine_table(width: int, frames: int, grid: int) -> Tensor:
    """The initial table of training, float32 [1, 1 + frames * grid * grid, width]; its class entry is zero.

    A quarter of the width encodes the frame, 3/8 the column and 3/8 the row.
    """
    if width % 16:
        raise ModelError(f"A position table of width {width} cannot be split: expected a multiple of 16.")
    time, side = width // 4, width * 3 // 8
    frame, row, column = torch.meshgrid(
        torch.arange(frames), torch.arange(grid), torch.arange(grid), indexing="ij"
    )  # each [frames, grid, grid]
    parts = [_codes(frame.flatten(), time), _codes(column.flatten(), side), _codes(row.flatten(), side)]
    table = torch.cat(parts, dim=1)
    return torch.cat([torch.zeros(1, width), table.float()])[None]


def _codes(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of integer positions [N]: float64 [N, width]."""
    rates = 10000 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = positions.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def table_frames(length: int, grid: int) -> int:
    """Number of frames of a table of `length` entries with `grid` x `grid` patches per frame."""
    frames, rest = divmod(length - 1, grid * grid)
    if rest or not frames:
        raise ModelError(f"A position table of {length} entries does not fit frames of {grid} x {grid} patches.")
    return frames


def table_grid(length: int, frames: int) -> int | None:
    """Patches per side of a table of `length` entries for `frames` frames; None if they are not square."""
    cells, rest = divmod(length - 1, frames)
    grid = math.isqrt(cells)
    return grid if not rest and grid and grid * grid == cells else None


def resize_table(table: Tensor, frames_before: int, frames: int, rows: int, columns: int) -> Tensor:
    """The table [1, 1 + T * g * g, D] of `frames_before` frames, resized to `frames` frames of rows x columns patches.

    Linear along the frames, then bicubic within a frame, in float32; the class entry does not change.
    """
    grid = table_grid(table.shape[1], frames_before)
    if grid is None:
        raise ModelError(f"A position table of {table.shape[1]} entries is not one of {frames_before} square frames.")
    if (frames_before, grid, grid) == (frames, rows, columns):
        return table
    width = table.shape[2]
    cells = table[0, 1:].float().reshape(frames_before, grid, grid, width)
    if frames != frames_before:
        lines = cells.permute(1, 2, 3, 0).reshape(grid * grid, width, frames_before)
        lines = interpolate(lines, frames, mode="linear", align_corners=False)
        cells = lines.reshape(grid, grid, width, frames).permute(3, 0, 1, 2)
    if (rows, columns) != (grid, grid):
        pictures = interpolate(cells.permute(0, 3, 1, 2), (rows, columns), mode="bicubic", align_corners=False)
        cells = pictures.permute(0, 2, 3, 1)
    return torch.cat([table[:, :1].float(), cells.reshape(1, frames * rows * columns, width)], dim=1)


def mean_over_time(table: Tensor, frames: int) -> Tensor:
    """The table [1, 1 + g * g, D] of a single image: the class entry, and the mean of the other entries over time."""
    cells = table[:, 1:].float().reshape(1, frames, -1, table.shape[2]).mean(1)
    return torch.cat([table[:, :1].float(), cells], dim=1)
