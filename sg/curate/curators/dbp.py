"""Density-based pruning: cells that are wide and far from others keep more of their videos."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import KEEPS, check_positive, check_share
from sg.curate.clustering import Rows, nearest_centres, rank_in_group, spherical_kmeans
from sg.curate.curators.semdedup import SemDedupConfig, cell_count, split_after_dedup
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig


@dataclass
class DbpConfig(CuratorConfig):
    """Density-based pruning (arXiv 2401.04578): de-duplicate, then give wide and isolated cells larger quotas.

    Attributes:
        name: folder of the result.
        seed: draws the initial centres.
        cells: k-means cells; fewer for small corpora.
        dedup_share: share of the videos that remains after de-duplication (SemDeDup).
        dedup_keep: `keep` of the de-duplication.
        neighbours: nearest centres whose mean distance measures how far a cell is from others.
        temperature: of the softmax over (distance within x distance between); small values favour wide cells more.
        keep: which videos of a cell stay longest.
        steps: Lloyd steps.
    """

    name: str = field(default="dbp", metadata=NOT_IDENTITY)
    cells: int = 500
    dedup_share: float = 0.8
    dedup_keep: str = "hard"
    neighbours: int = 20
    temperature: float = 0.1
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.dedup_keep", self.dedup_keep, KEEPS)
        check_choice("curator.keep", self.keep, ("hard", "easy"))
        check_share("dedup_share", self.dedup_share)
        check_share("temperature", self.temperature)
        check_positive(cells=self.cells, neighbours=self.neighbours, steps=self.steps)


@CURATORS.register("dbp", DbpConfig)
def curate_by_density(inputs: CuratorInputs, config: DbpConfig) -> Curated:
    """The removals of SemDeDup first, then the remaining videos so that at each size every cell has its quota."""
    videos = inputs.read_videos(config.seed)
    dedup = SemDedupConfig(seed=config.seed, cells=config.cells, keep=config.dedup_keep, steps=config.steps)
    removed, remaining = split_after_dedup(videos, dedup, config.dedup_share)
    unit = videos.unit[remaining]
    cells = cell_count(len(remaining), config.cells)
    centres = spherical_kmeans(unit, cells, seed=config.seed % 2**32, steps=config.steps, sample=256 * cells)
    cell, cosine = nearest_centres(unit, centres)
    weight = cell_weights(centres, cell, cosine, config)
    rank = rank_in_group(cell, cosine if config.keep == "hard" else -cosine)
    entry = entry_sizes(weight, np.bincount(cell, minlength=len(centres)), cell, rank)
    order = remaining[np.lexsort((remaining, entry))[::-1]]
    return Curated.of(videos, Removals.join([removed, Removals.plain(order)]))


def cell_weights(
    centres: NDArray[np.floating], cell: Rows, cosine: NDArray[np.floating], config: DbpConfig
) -> NDArray[np.float64]:
    """[k] shares that sum to 1: softmax of the mean distance within a cell times that to the nearest centres."""
    sizes = np.bincount(cell, minlength=len(centres))
    within = np.bincount(cell, weights=1.0 - cosine.astype(np.float64), minlength=len(centres)) / np.maximum(sizes, 1)
    between = np.sort(1.0 - centres.astype(np.float64) @ centres.T, axis=1)[:, 1 : config.neighbours + 1]
    isolation = between.mean(axis=1) if between.shape[1] else np.ones(len(centres))
    logits = np.where(sizes > 0, within * isolation / config.temperature, -np.inf)
    shares: NDArray[np.float64] = np.exp(logits - logits.max())
    shares /= shares.sum()
    return shares


def entry_sizes(weight: NDArray[np.float64], sizes: Rows, cell: Rows, rank: Rows) -> NDArray[np.float64]:
    """[n] the smallest core size at which each row is in the core; rows of a cell enter in the order of their `rank`.

    The quotas x of a core of size n are those nearest to n * weight (least squares) under sum x = n and x <= sizes:
    x_j = min(sizes_j, n weight_j + shift(n)). The shift only grows with n, so the cores are nested. It is linear
    between the sizes at which a cell becomes full, so the loop goes from one full cell to the next.
    """
    breaks, shifts = [0.0], [0.0]
    open_cells = sizes > 0
    while open_cells.any():
        slope = (1.0 - weight[open_cells].sum()) / open_cells.sum()
        growth = weight[open_cells] + slope
        room = sizes[open_cells] - (breaks[-1] * weight[open_cells] + shifts[-1])
        step = float(np.min(np.maximum(room, 0.0) / np.maximum(growth, 1e-300)))
        filled = np.flatnonzero(open_cells)[np.maximum(room, 0.0) / np.maximum(growth, 1e-300) <= step * (1 + 1e-12)]
        breaks.append(breaks[-1] + step)
        shifts.append(shifts[-1] + slope * step)
        open_cells[filled] = False
    entry = np.empty(len(cell))
    at, shift = np.array(breaks), np.array(shifts)
    for number in np.unique(cell).tolist():
        rows = np.flatnonzero(cell == number)
        entry[rows] = np.interp(rank[rows] + 1.0, at * weight[number] + shift, at)
    return entry
