"""Exact best matches between two sets of unit vectors; memory grows with the number of rows, not of pairs.

Candidates come from blocked float32 products, whose error is below 1e-6. A row whose best score leads the second best
by less than `NEAR_TIE` is therefore compared again in float64, and every score that is returned is a float64 product.
So the result does not depend on block size, threads, device, or the way candidates were found. Scores are rounded to a
grid of 1e-12, so that vectors which differ only in the last bit tie; ties go to the lowest row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.curate.threads import in_stripes

NEAR_TIE = {torch.float32: 4e-6, torch.float64: 4e-12}
"""Lead below which float64 decides, by type of the products. At d=768 the largest measured float32 error is 8e-7."""
_GRID = 2.0**40
_GROUP = 128
_NEAR_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """For each of n source rows: `target` int64 [n] (row of the other side) and `score` float64 [n]."""

    target: NDArray[np.int64]
    score: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Proposals for n source rows: `target` int64 [n] and `lead` float32 [n], best minus second-best score."""

    target: NDArray[np.int64]
    lead: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.target)

    @staticmethod
    def join(parts: Sequence[Candidates]) -> Candidates:
        """The candidates of consecutive blocks."""
        target = np.concatenate([np.empty(0, np.int64), *(part.target for part in parts)])
        return Candidates(target, np.concatenate([np.empty(0, np.float32), *(part.lead for part in parts)]))


class CandidateFinder(Protocol):
    """Finds candidates for blocks of source rows among the target rows of its constructor."""

    rows_at_once: int

    def find(self, block: Tensor) -> Candidates:
        """Candidates for `block` [n, d] of unit rows."""
        ...


class BlockStore(Protocol):
    """Keeps the finished blocks of a round, so that a killed run resumes within the round."""

    def load(self, count: int) -> Candidates:
        """The candidates of the first of `count` rows that an earlier run finished; empty if there was none."""
        ...

    def save(self, candidates: Candidates, count: int) -> None:
        """Keep the candidates of the first rows."""
        ...


def match(
    a: Tensor,
    b: Tensor,
    finder: CandidateFinder,
    advance: Callable[[int], None] | None = None,
    store: BlockStore | None = None,
) -> Matches:
    """The best row of `b` for every row of `a` by cosine; ties go to the lowest row.

    Args:
        a: [n, d] unit rows.
        b: [m, d] unit rows, m >= 1, on the device that computes.
        finder: finds candidates among the rows of `b`.
        advance: called with the number of rows done, after each block.
        store: keeps finished blocks.
    """
    parts = [store.load(len(a))] if store else []
    with full_precision():
        for start in range(len(parts[0]) if parts else 0, len(a), finder.rows_at_once):
            parts.append(finder.find(a[start : start + finder.rows_at_once].to(b.device)))
            if store:
                store.save(Candidates.join(parts), len(a))
            if advance:
                advance(len(parts[-1]))
        return _in_float64(a, b, Candidates.join(parts))


class ExactMatcher:
    """Compares every source row with every row of `b` [m, d], `rows` x `columns` at a time."""

    def __init__(self, b: Tensor, rows: int = 4096, columns: int = 16_384) -> None:
        self.rows_at_once = rows
        self._b, self._columns = b, columns
        self._scores = torch.empty(0, device=b.device, dtype=b.dtype)

    def find(self, block: Tensor) -> Candidates:
        """The best row of each row of `block` and its lead over the second best."""
        best = torch.full((len(block),), -torch.inf, dtype=block.dtype, device=block.device)
        second, target = best.clone(), torch.zeros(len(block), dtype=torch.int64, device=block.device)
        for start in range(0, len(self._b), self._columns):
            scores = self._product(block, self._b[start : start + self._columns])
            block_best, where, block_second = row_top2(scores)
            target = torch.where(block_best > best, where + start, target)
            second = torch.maximum(torch.maximum(second, block_second), torch.minimum(best, block_best))
            best = torch.maximum(best, block_best)
        return candidates_of(target, best, second)

    def _product(self, block: Tensor, columns: Tensor) -> Tensor:
        """[n, m] scores, in a buffer that is reused: allocating it each time costs a tenth of the product's time."""
        if self._scores.numel() < len(block) * len(columns):
            self._scores = block.new_empty(len(block) * len(columns))
        out = self._scores[: len(block) * len(columns)].view(len(block), len(columns))
        return torch.mm(block, columns.T, out=out)


def candidates_of(target: Tensor, best: Tensor, second: Tensor) -> Candidates:
    """Candidates from their targets and two best scores, all [n].

    A row without any candidate gets lead 0, so that float64 products with all targets decide it.
    """
    lead = torch.where(torch.isinf(best), 0.0, best - second)
    return Candidates(target.cpu().numpy(), lead.float().cpu().numpy())


def row_top2(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of `scores` [n, m]: the largest value, its column (any of equal ones), the second largest or -inf.

    The maxima of groups of columns are computed first: one pass at the speed of memory, four times faster than a
    maximum with its position. Only the best group is then searched for the position.
    """
    rows, columns = scores.shape
    groups = max(2, -(-columns // _GROUP))
    if groups * _GROUP != columns:
        scores = torch.nn.functional.pad(scores, (0, groups * _GROUP - columns), value=-torch.inf)
    grouped = scores.view(rows, groups, _GROUP)
    leaders, group = grouped.amax(dim=2).topk(2, dim=1)
    # The second best lies either in the best group too, or is the maximum of the second-best group.
    inside, column = grouped[torch.arange(rows, device=scores.device), group[:, 0]].topk(2, dim=1)
    return inside[:, 0], group[:, 0] * _GROUP + column[:, 0], torch.maximum(inside[:, 1], leaders[:, 1])


def pair_scores(a: Tensor, b: Tensor) -> Tensor:
    """[n] float64 cosines of each row of `a` with the same row of `b`, both [n, d], on the grid; 0 for a zero row."""
    a64, b64 = a.double(), b.double()
    lengths = torch.linalg.vector_norm(a64, dim=1) * torch.linalg.vector_norm(b64, dim=1)
    return _on_grid((a64 * b64).sum(dim=1) / torch.where(lengths > 0, lengths, 1.0))


def _in_float64(a: Tensor, b: Tensor, candidates: Candidates) -> Matches:
    """Decide near ties, and compute all scores, in float64."""
    target = candidates.target.copy()
    near = np.flatnonzero(candidates.lead < NEAR_TIE[b.dtype])
    for start in range(0, len(near), _NEAR_ROWS_AT_ONCE):
        rows = near[start : start + _NEAR_ROWS_AT_ONCE]
        block, present = a[torch.from_numpy(rows)].to(b.device), torch.from_numpy(target[rows]).to(b.device)
        chosen = _near_targets(block, b, present)
        target[rows] = chosen[_best_in_float64(block, b[chosen])].cpu().numpy()
    score = np.empty(len(target))

    def compute(part: slice) -> None:
        partners = b[torch.from_numpy(target[part]).to(b.device)]
        score[part] = pair_scores(a[part].to(b.device), partners).cpu().numpy()

    in_stripes(compute, len(target))
    return Matches(target, score)


def _near_targets(block: Tensor, b: Tensor, present: Tensor, columns: int = 8192) -> Tensor:
    """The rows of `b`, rising, that a row of `block` [n, d] may prefer to its `present` target [n]: most are far worse.

    Float64 then compares a few thousand targets instead of all.
    """
    level = (block * b[present]).sum(dim=1) - 2 * NEAR_TIE[b.dtype]
    parts = []
    for start in range(0, len(b), columns):
        scores = block @ b[start : start + columns].T
        parts.append(torch.nonzero((scores >= level[:, None]).any(dim=0))[:, 0] + start)
    return torch.cat(parts)


def _best_in_float64(block: Tensor, b: Tensor, columns: int = 8192) -> Tensor:
    """[n] the lowest row of `b` with the highest float64 cosine."""
    block64 = _unit64(block)
    best = torch.full((len(block),), -torch.inf, dtype=torch.float64, device=b.device)
    target = torch.zeros(len(block), dtype=torch.int64, device=b.device)
    for start in range(0, len(b), columns):
        scores = _on_grid(block64 @ _unit64(b[start : start + columns]).T)
        top = scores.amax(dim=1)
        where = (scores == top[:, None]).to(torch.int8).argmax(dim=1) + start
        target = torch.where(top > best, where, target)
        best = torch.maximum(best, top)
    return target


def _unit64(rows: Tensor) -> Tensor:
    rows64 = rows.double()
    lengths = torch.linalg.vector_norm(rows64, dim=1, keepdim=True)
    return rows64 / torch.where(lengths > 0, lengths, 1.0)


def _on_grid(scores: Tensor) -> Tensor:
    return torch.round(scores * _GRID) / _GRID


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute float32 products in full float32: no TF32, no bfloat16, whatever the process uses for training."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
