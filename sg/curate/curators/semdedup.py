"""SemDeDup: near-duplicates within k-means cells are removed, the closest pairs first."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.forest import NO_ROUND
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import KEEPS, check_positive
from sg.curate.clustering import Rows, nearest_centres, spherical_kmeans
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig
from sg.curate.videos import Videos

_ROWS_PER_CELL = 20
_ROWS_AT_ONCE = 2048


@dataclass
class SemDedupConfig(CuratorConfig):
    """SemDeDup (arXiv 2303.09540): videos are removed by their highest cosine to a predecessor in their cell.

    As in the public code, and unlike the paper's text, a removed video still counts as a predecessor of later ones.

    Attributes:
        name: folder of the result.
        seed: draws the initial centres, and the `random` rank.
        cells: k-means cells; fewer (a twentieth of the videos) for small corpora.
        keep: which videos rank first in a cell, and therefore stay longest: `hard` far from the centre, `easy` near to
            it, `random`.
        steps: Lloyd steps.
    """

    name: str = field(default="semdedup", metadata=NOT_IDENTITY)
    cells: int = 1000
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.keep", self.keep, KEEPS)
        check_positive(cells=self.cells, steps=self.steps)


@CURATORS.register("semdedup", SemDedupConfig)
def curate_by_semdedup(inputs: CuratorInputs, config: SemDedupConfig) -> Curated:
    """Videos by falling cosine to their closest predecessor in the cell; see `semdedup_removals`."""
    videos = inputs.read_videos(config.seed)
    return Curated.of(videos, semdedup_removals(videos, config))


def semdedup_removals(videos: Videos, config: SemDedupConfig) -> Removals:
    """Videos by falling cosine to their closest predecessor in the cell.

    The first video of each cell has no predecessor; those are removed last, by key.
    """
    cell, cosine = cell_of_each(videos.unit, config.cells, config.seed, config.steps)
    rank = rank_key(config.keep, cosine, videos.keys)
    closest, similarity = closest_predecessors(videos.unit, cell, rank)
    order = np.lexsort((-np.arange(len(videos)), np.where(closest < 0, np.inf, -similarity)))
    into = _next_alive(order, closest)
    has_one = closest >= 0
    number = np.where(has_one, 0, NO_ROUND)
    return Removals(order, into[order], np.where(has_one, similarity, np.nan)[order], number[order])


def split_after_dedup(videos: Videos, config: SemDedupConfig, share: float) -> tuple[Removals, Rows]:
    """The first removals of SemDeDup, until `share` of the videos remains, and the remaining rows in rising order."""
    order = semdedup_removals(videos, config)
    cut = len(order) - max(1, round(share * len(order)))
    removed = Removals(order.video[:cut], order.into[:cut], order.similarity[:cut], order.round[:cut])
    return removed, np.sort(order.video[cut:])


def cell_of_each(unit: NDArray[np.floating], cells: int, seed: int, steps: int) -> tuple[Rows, NDArray[np.floating]]:
    """[n] k-means cell of each row and [n] its cosine with the centre."""
    centres = spherical_kmeans(unit, cell_count(len(unit), cells), seed=seed % 2**32, steps=steps, sample=256 * cells)
    return nearest_centres(unit, centres)


def cell_count(videos: int, cells: int) -> int:
    """`cells`, or fewer if the corpus is too small to fill them."""
    return max(1, min(cells, videos // _ROWS_PER_CELL))


def rank_key(keep: str, cosine: NDArray[np.floating], keys: NDArray[np.uint64]) -> NDArray[np.floating]:
    """[n] rank key of each row, the lowest ranks first: far from the centre (`hard`), near to it, or random."""
    if keep == "random":
        return keys.astype(np.float64)
    return (cosine if keep == "hard" else -cosine).astype(np.float64)


def closest_predecessors(
    unit: NDArray[np.floating], cell: Rows, rank: NDArray[np.floating]
) -> tuple[Rows, NDArray[np.float64]]:
    """[n] the closest predecessor of each row in its cell (-1 for the first row of a cell), and [n] the cosine."""
    import torch

    from sg.curate.matching.exact import full_precision

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
    """[n] the first row in the chain of closest predecessors that is removed later than the row itself, or -1."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    into = closest.copy()
    while len(early := np.flatnonzero((into >= 0) & (place[into] < place))):
        into[early] = closest[into[early]]
    return into
