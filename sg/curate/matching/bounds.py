"""An upper bound on cosines from some principal components, which excludes nearly all pairs before full products.

Let y be the first p components of a unit vector and rho the length of the rest. By Cauchy-Schwarz, the cosine of two
vectors is at most y_a . y_b + rho_a rho_b. With rho appended as a last column, the bound is one short product. Only
pairs whose bound exceeds the best score of the row so far are computed in full. That loop is compiled (numba), because
indexing tensors pair by pair would be slower than computing all products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.curate.matching.exact import Candidates

_SLACK = np.float32(1e-5)
"""More than the sum of all rounding errors of bounds and products (each below 1e-6) and the width of a near tie.

A pair within the slack of the best score is computed in full, so every near tie is seen.
"""
_REST_ERROR = 4e-6
"""More than the error of a squared length in float32."""
_BASIS_ROWS = _ROWS_AT_ONCE = 8192
_TRIAL_SOURCES, _TRIAL_TARGETS = 64, 131_072
_TRIAL_STEP = 8
_WORTH_A_TRIAL = 32_768
"""Rows from which on the trial costs less than it saves."""
_PRODUCT_COST = 8
"""Time of one component of a full product over that of one component of a bound, which is part of a matrix product."""
_GROUP = 64


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """For n source rows: `best` and `second` score float32 [n], `target` int64 [n] (the row with the best score).

    `level` [n] is the value that a bound must exceed to be worth a full product. A second best that lies more than the
    slack below the best may be missed. The lead is then too large, but it is wider than a near tie in either case, so
    the decision does not change.
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
        """Candidates of all rows; a row that was compared with nothing has lead 0."""
        return Candidates(self.target, self.best - self.second)

    def compare(self, bounds: Tensor, sources: Tensor, rows: NDArray[np.int64], targets: Tensor, first: int) -> None:
        """Compare `sources[rows]` with `targets` where `bounds` allow a better score than the present one.

        Args:
            bounds: [n, m] upper bounds of the scores.
            sources: [N, d] all source rows of the block.
            rows: [n] the rows of `sources` that `bounds` is about.
            targets: [m, d] consecutive target rows.
            first: row number of the first of them.

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


def cheapest_basis(unit: NDArray[np.floating], most: int) -> Tensor:
    """[d, p] the first principal directions, as many (at most `most`) as cost least on a sample of `unit`.

    More directions exclude more pairs, but every pair pays for each of them. The matches do not depend on the choice.
    """
    basis = principal_basis(unit, most)
    if basis.shape[1] <= _TRIAL_STEP or len(unit) < _WORTH_A_TRIAL:
        return basis
    sources = _spaced(unit, _TRIAL_SOURCES)
    computed = dict.fromkeys(range(_TRIAL_STEP, basis.shape[1] + 1, _TRIAL_STEP), 0)
    targets = _spaced(unit, _TRIAL_TARGETS)
    best = torch.full((len(sources), 1), -2.0)
    for part in np.array_split(targets, -(-len(targets) // _ROWS_AT_ONCE)):
        a, b = (torch.nn.functional.normalize(torch.from_numpy(unit[rows]).float(), dim=1) for rows in (sources, part))
        scores = a @ b.T
        scores[torch.from_numpy(sources[:, None] == part)] = -2.0
        # The best score before each target: a bound must exceed it to be worth a full product.
        before = torch.cat([best, torch.cummax(scores, dim=1).values.clamp(min=best)], dim=1)
        best = before[:, -1:]
        for dims in computed:
            first = basis[:, -dims:]
            computed[dims] += int((with_rest(a, first) @ with_rest(b, first).T > before[:, :-1] - float(_SLACK)).sum())
    pairs = len(sources) * len(targets)
    cost = {dims: dims + 1 + _PRODUCT_COST * unit.shape[1] * computed[dims] / pairs for dims in computed}
    return basis[:, -min(cost, key=lambda dims: cost[dims]) :]


def _spaced(unit: NDArray[np.floating], most: int) -> NDArray[np.int64]:
    """At most about `most` evenly spaced row numbers."""
    return np.arange(0, len(unit), max(1, len(unit) // most))


def with_rest(rows: Tensor, basis: Tensor) -> Tensor:
    """[n, p + 1] float32 coordinates of unit rows [n, d] in `basis` [d, p], and the length of the rest.

    The length is rounded up by what float32 may lose, so that the bound stays an upper bound.
    """
    result = torch.empty(len(rows), basis.shape[1] + 1)
    directions = basis.float()
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = result[start : start + _ROWS_AT_ONCE]
        inside = rows[start : start + _ROWS_AT_ONCE].float() @ directions
        part[:, :-1] = inside
        part[:, -1] = torch.sqrt(torch.clamp(1 - (inside * inside).sum(1), min=0.0) + _REST_ERROR)
    return result


@numba.njit(fastmath=True, cache=True, nogil=True)
def _scan(bounds, sources, rows, targets, first, level, best, second, target):  # type: ignore[no-untyped-def]
    """Compute in full the pairs whose bound exceeds the row's level; update best, second best and target."""
    for i in range(bounds.shape[0]):
        row = rows[i]
        for start in range(0, bounds.shape[1], _GROUP):
            group = bounds[i, start : start + _GROUP]
            # This first loop has no branch, so the compiler vectorises it; nearly all groups end here.
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
