"""Exact matches with few full products: a bound from some principal components rules out nearly all pairs.

With y the first p components of a unit vector and rho the length of the rest, the cosine of two vectors is at most
y_a . y_b + rho_a rho_b. Appending rho as a last column makes the bound one short product; pairs whose bound beats what
the row has already are computed in full, in compiled code (plain tensor indexing would be slower than computing all).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.curate.matching import Candidates

_SLACK = np.float32(1e-5)
"""More than all rounding errors of bounds and products (each below 1e-6) and the near-tie width together."""
_BASIS_ROWS = _ROWS_AT_ONCE = 8192
_STRIPE_ROWS, _TILE_ROWS, _TILE_COLUMNS, _GROUP = 2048, 256, 1024, 64


class ProjectedMatcher:
    """Finds what `ExactMatcher` finds among `b` [m, d] (float32, on the CPU); `basis` [d, p] is orthonormal."""

    def __init__(self, b: Tensor, basis: Tensor) -> None:
        self.rows_at_once = _STRIPE_ROWS * torch.get_num_threads() * 4
        self._b, self._basis = b, basis
        self._bounds_of_b = with_rest(b, basis)

    def find(self, block: Tensor) -> Candidates:
        """The best row of each row of `block` and its lead over the second best."""
        found = _Found.nothing(len(block))
        bounds_of_block = with_rest(block, self._basis)

        def search(start: int) -> None:
            part = slice(start, start + _STRIPE_ROWS)
            self._search(block[part], bounds_of_block[part], found[part])

        # One torch thread a worker: products this small do not gain from more, and idle ones would spin. The setting
        # reaches beyond the thread that makes it, hence the last line.
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(search, range(0, len(block), _STRIPE_ROWS)))
        finally:
            torch.set_num_threads(threads)
        return Candidates(found.target, found.best - found.second)

    def _search(self, rows: Tensor, bounds_of_rows: Tensor, found: _Found) -> None:
        """Fill `found` for a stripe of rows: a slice of targets stays in the cache while all the stripe meets it."""
        level, buffer = np.full(len(rows), -2, np.float32), torch.empty(_TILE_ROWS * _TILE_COLUMNS)
        for start in range(0, len(self._b), _TILE_COLUMNS):
            columns = self._b[start : start + _TILE_COLUMNS].numpy()
            bounds_of_columns = self._bounds_of_b[start : start + _TILE_COLUMNS].T
            for first in range(0, len(rows), _TILE_ROWS):
                part = slice(first, first + _TILE_ROWS)
                tile = bounds_of_rows[part]
                bounds = buffer[: len(tile) * len(columns)].view(len(tile), len(columns))
                torch.mm(tile, bounds_of_columns, out=bounds)
                some = found[part]
                _scan(
                    bounds.numpy(),
                    rows[part].numpy(),
                    columns,
                    start,
                    level[part],
                    some.best,
                    some.second,
                    some.target,
                )


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Best score, second best and target of n rows."""

    best: NDArray[np.float32]
    second: NDArray[np.float32]
    target: NDArray[np.int64]

    @staticmethod
    def nothing(count: int) -> _Found:
        """Scores below any cosine."""
        low = np.full(count, -2, np.float32)
        return _Found(low, low.copy(), np.zeros(count, np.int64))

    def __getitem__(self, part: slice) -> _Found:
        return _Found(self.best[part], self.second[part], self.target[part])


def principal_basis(unit: NDArray[np.floating], dims: int) -> Tensor:
    """[d, p] float64 first principal directions (not centred) of evenly spaced rows of `unit` [n, d]."""
    sample = torch.from_numpy(unit[:: max(1, len(unit) // _BASIS_ROWS)]).float()
    _, vectors = torch.linalg.eigh((sample.T @ sample).double())
    basis: Tensor = vectors[:, -min(dims, unit.shape[1]) :]
    return basis


def with_rest(rows: Tensor, basis: Tensor) -> Tensor:
    """[n, p + 1] float32 coordinates of unit rows in `basis` [d, p], and the length of what they leave out.

    The length is rounded up by what float32 coordinates may lose.
    """
    parts = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        rows64 = rows[start : start + _ROWS_AT_ONCE].double()
        inside = rows64 @ basis
        rest = torch.sqrt(torch.clamp((rows64 * rows64).sum(1) - (inside * inside).sum(1), min=0.0) + 1e-6)
        parts.append(torch.cat([inside, rest[:, None]], dim=1).float())
    return torch.cat(parts)


@numba.njit(fastmath=True, cache=True, nogil=True)
def _scan(bounds, rows, columns, offset, level, best, second, target):  # type: ignore[no-untyped-def]
    """Compute in full the pairs whose bound is above the row's level; keep best, second best and target."""
    for i in range(bounds.shape[0]):
        for start in range(0, bounds.shape[1], _GROUP):
            group = bounds[i, start : start + _GROUP]
            above = np.int32(0)
            for j in range(len(group)):
                above += np.int32(group[j] > level[i])
            if above == 0:
                continue
            for j in range(len(group)):
                if group[j] > level[i]:
                    score = np.float32(0.0)
                    for k in range(rows.shape[1]):
                        score += rows[i, k] * columns[start + j, k]
                    if score > best[i]:
                        second[i] = best[i]
                        best[i] = score
                        target[i] = offset + start + j
                        level[i] = max(level[i], score - _SLACK)
                    elif score > second[i]:
                        second[i] = score
