"""SemDeDup: near-duplicates within k-means cells go, the closest pairs first."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sg.artefacts.forest import NO_ROUND
from sg.curate.baselines.config import SemDedupConfig
from sg.curate.clustering import Rows, nearest_centres, spherical_kmeans
from sg.curate.matching.exact import full_precision
from sg.curate.removals import Removals
from sg.curate.videos import Videos

_ROWS_PER_CELL = 20
_ROWS_AT_ONCE = 2048


def semdedup_removals(videos: Videos, config: SemDedupConfig) -> Removals:
    """Videos by falling cosine to their closest predecessor in the cell; the first of each cell last, by key."""
    cell, cosine = cell_of_each(videos.unit, config.cells, config.seed, config.steps)
    rank = rank_key(config.keep, cosine, videos.keys)
    closest, similarity = closest_predecessors(videos.unit, cell, rank)
    order = np.lexsort((-np.arange(len(videos)), np.where(closest < 0, np.inf, -similarity)))
    into = _next_alive(order, closest)
    has_one = closest >= 0
    number = np.where(has_one, 0, NO_ROUND)
    return Removals(order, into[order], np.where(has_one, similarity, np.nan)[order], number[order])


def cell_of_each(unit: NDArray[np.floating], cells: int, seed: int, steps: int) -> tuple[Rows, NDArray[np.floating]]:
    """[n] k-means cell of each row and [n] its cosine with the centre."""
    centres = spherical_kmeans(unit, cell_count(len(unit), cells), seed=seed % 2**32, steps=steps, sample=256 * cells)
    return nearest_centres(unit, centres)


def cell_count(videos: int, cells: int) -> int:
    """`cells`, or fewer where the corpus is too small to fill them."""
    return max(1, min(cells, videos // _ROWS_PER_CELL))


def rank_key(keep: str, cosine: NDArray[np.floating], keys: NDArray[np.uint64]) -> NDArray[np.floating]:
    """[n] number by which the rows of a cell rank, the lowest first: far from the centre (`hard`), near, or random."""
    if keep == "random":
        return keys.astype(np.float64)
    return (cosine if keep == "hard" else -cosine).astype(np.float64)


def closest_predecessors(
    unit: NDArray[np.floating], cell: Rows, rank: NDArray[np.floating]
) -> tuple[Rows, NDArray[np.float64]]:
    """[n] the closest row of the same cell that ranks before each row (-1 for the first), and [n] the cosine."""
    closest, similarity = np.full(len(unit), -1), np.full(len(unit), -np.inf)
    order = np.lexsort((np.arange(len(unit)), rank, cell))
    sorted_cell = cell[order]
    starts = np.flatnonzero(np.r_[True, np.diff(sorted_cell) > 0]) if len(order) else np.empty(0, np.int64)
    with full_precision():
        for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
            rows = order[begin:end]
            members = torch.from_numpy(unit[rows])
            for first in range(0, len(rows), _ROWS_AT_ONCE):
                scores = members[first : first + _ROWS_AT_ONCE] @ members.T
                before = torch.arange(len(rows)) < torch.arange(first, first + len(scores))[:, None]
                best, where = torch.where(before, scores, -torch.inf).max(dim=1)
                part = rows[first : first + _ROWS_AT_ONCE]
                similarity[part] = best.numpy()
                closest[part] = rows[where.numpy()]
    closest[np.isinf(similarity)] = -1
    return closest, similarity


def _next_alive(order: Rows, closest: Rows) -> Rows:
    """[n] the first of each row's chain of closest predecessors that goes later than the row itself, or -1."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    into = closest.copy()
    while len(early := np.flatnonzero((into >= 0) & (place[into] < place))):
        into[early] = closest[into[early]]
    return into
