"""A bound on cosines from some principal components, which rules out nearly all pairs before they are computed.

With y the first p components of a unit vector and rho the length of the rest, the cosine of two vectors is at most
y_a . y_b + rho_a rho_b. Appending rho as a last column makes the bound one short product; pairs whose bound beats what
the row has already are computed in full, in compiled code (plain tensor indexing would be slower than computing all).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.curate.matching.exact import Candidates

_SLACK = np.float32(1e-5)
"""More than all rounding errors of bounds and products (each below 1e-6) and the near-tie width together."""
_BASIS_ROWS = _ROWS_AT_ONCE = 8192
_GROUP = 64


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Of n source rows: `best` and `second` score float32 [n], `target` int64 [n] (the row that gave the best).

    `level` [n] is what a bound must exceed to be worth a full product. A second best further than the slack below the
    best may be missed: the lead is then said too large, but is wider than a near tie all the same.
    """

    best: NDArray[np.float32]
    second: NDArray[np.float32]
    level: NDArray[np.float32]
    target: NDArray[np.int64]

    @staticmethod
    def nothing(count: int) -> Found:
        """Scores below any cosine."""
        low = np.full(count, -2, np.float32)
        return Found(low, low.copy(), low.copy(), np.zeros(count, np.int64))

    def candidates(self) -> Candidates:
        """Candidates of all rows; one that was compared with nothing has lead 0."""
        return Candidates(self.target, self.best - self.second)

    def compare(self, bounds: Tensor, sources: Tensor, rows: NDArray[np.int64], targets: Tensor, first: int) -> None:
        """Compare `sources[rows]` with `targets` [m, d], whose first is called `first`, where `bounds` [n, m] allow.

        All tensors are float32 on the CPU.
        """
        state = self.level, self.best, self.second, self.target
        _scan(bounds.numpy(), sources.numpy(), rows, targets.numpy(), first, *state)


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


def in_stripes(search: Callable[[slice], None], rows: int, stripe: int) -> None:
    """Call `search` with slices of `stripe` rows, as many at a time as torch has threads.

    One torch thread a worker: products this small do not gain from more, and idle ones would spin. The setting reaches
    beyond the thread that makes it, so it is put back.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(search, (slice(start, start + stripe) for start in range(0, rows, stripe))))
    finally:
        torch.set_num_threads(threads)


@numba.njit(fastmath=True, cache=True, nogil=True)
def _scan(bounds, sources, rows, targets, first, level, best, second, target):  # type: ignore[no-untyped-def]
    """Compute in full the pairs whose bound is above the row's level; keep best, second best and target."""
    for i in range(bounds.shape[0]):
        row = rows[i]
        for start in range(0, bounds.shape[1], _GROUP):
            group = bounds[i, start : start + _GROUP]
            above = np.int32(0)
            for j in range(len(group)):
                above += np.int32(group[j] > level[row])
            if above == 0:
                continue
            for j in range(len(group)):
                if group[j] > level[row]:
                    score = np.float32(0.0)
                    for k in range(sources.shape[1]):
                        score += sources[row, k] * targets[start + j, k]
                    if score > best[row]:
                        second[row] = best[row]
                        best[row] = score
                        target[row] = first + start + j
                        level[row] = max(level[row], score - _SLACK)
                    elif score > second[row]:
                        second[row] = score
