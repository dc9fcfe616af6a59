"""k-means with as many clusters as videos to keep: the obvious alternative to ToMe."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sg.core.identity import NOT_IDENTITY
from sg.curate.checks import check_positive, check_rungs
from sg.curate.clustering import Rows, grouped_rows, nearest_centres, spherical_kmeans
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig


@dataclass
class KMeansConfig(CuratorConfig):
    """As many clusters as videos to keep; the video nearest to each centre stays.

    Attributes:
        name: folder of the result.
        seed: draws the initial centres.
        rungs: sizes that get a clustering of their own, each on the videos of the size before; then halves down to 1.
            Sizes in between keep the videos nearest to their centre.
        rungs_of: size of the corpus that `rungs` are meant for; other corpora take the same proportions.
        steps: Lloyd steps of a clustering.
        largest_flat: a clustering with more clusters has two levels, which costs a small part of a flat one.
    """

    name: str = field(default="kmeans", metadata=NOT_IDENTITY)
    rungs: list[float] = field(default_factory=lambda: [400.0, 200.0, 100.0, 50.0])
    rungs_of: float = 530.0
    steps: int = 10
    largest_flat: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rungs(self.rungs, self.rungs_of)
        check_positive(steps=self.steps, largest_flat=self.largest_flat)


@CURATORS.register("kmeans", KMeansConfig)
def curate_by_kmeans(inputs: CuratorInputs, config: KMeansConfig) -> Curated:
    """From rung to rung, all videos but the nearest to each centre are removed, those farthest from it first."""
    videos = inputs.read_videos(config.seed)
    remaining, parts = np.arange(len(videos)), []
    for number, size in enumerate(ladder(config, len(videos))):
        if size >= len(remaining):
            continue
        label, cosine = cluster(videos.unit[remaining], size, config)
        kept = nearest_of_each(label, cosine)
        keeper = np.full(int(label.max()) + 1, -1)
        keeper[label[kept]] = kept
        removed = np.setdiff1d(np.arange(len(remaining)), kept)
        removed = removed[np.argsort(cosine[removed], kind="stable")]
        into, similarity = remaining[keeper[label[removed]]], cosine[removed].astype(np.float64)
        parts.append(Removals(remaining[removed], into, similarity, np.full(len(removed), number)))
        remaining = remaining[np.sort(kept)]
    return Curated.of(videos, Removals.join([*parts, Removals.plain(remaining[::-1])]))


def ladder(config: KMeansConfig, videos: int) -> list[int]:
    """Sizes that get a clustering: the rungs in proportion, then halves."""
    sizes = [max(1, round(videos * rung / config.rungs_of)) for rung in config.rungs]
    while (sizes[-1] if sizes else videos) > 1:
        sizes.append((sizes[-1] if sizes else videos) // 2)
    return sizes


def cluster(unit: NDArray[np.floating], clusters: int, config: KMeansConfig) -> tuple[Rows, NDArray[np.floating]]:
    """[n] cluster of each row and [n] its cosine with the centre; some of the `clusters` may be empty."""
    if clusters <= config.largest_flat:
        centres = spherical_kmeans(unit, clusters, seed=config.seed % 2**32, steps=config.steps)
        return nearest_centres(unit, centres)
    return _two_levels(unit, clusters, config)


def _two_levels(unit: NDArray[np.floating], clusters: int, config: KMeansConfig) -> tuple[Rows, NDArray[np.floating]]:
    """Cells first, then in each cell a share of the clusters that matches its share of the rows."""
    seed = config.seed % 2**32
    cells = min(config.largest_flat, round(np.sqrt(clusters)))
    cell, _ = nearest_centres(unit, spherical_kmeans(unit, cells, seed=seed, steps=config.steps, sample=256 * cells))
    order, borders = grouped_rows(cell, cells)
    shares = quotas(np.diff(borders), clusters)
    label, cosine = np.empty(len(unit), np.int64), np.empty(len(unit), unit.dtype)
    first = 0
    for number, share in enumerate(shares.tolist()):
        rows = order[borders[number] : borders[number + 1]]
        if len(rows):
            centres = spherical_kmeans(unit[rows], max(1, share), seed=seed, steps=config.steps)
            inside, cosine[rows] = nearest_centres(unit[rows], centres)
            label[rows] = first + inside
            first += len(centres)
    return label, cosine


def quotas(sizes: Rows, total: int) -> Rows:
    """[k] whole numbers that share `total` in proportion to `sizes` [k], by largest remainders."""
    exact = sizes * (total / max(1, sizes.sum()))
    shares: Rows = np.floor(exact).astype(np.int64)
    missing = total - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    return shares


def nearest_of_each(label: Rows, cosine: NDArray[np.floating]) -> Rows:
    """The row with the highest cosine of each label, of equal ones the lowest."""
    order = np.lexsort((np.arange(len(label)), -cosine, label))
    first: Rows = order[np.flatnonzero(np.r_[True, np.diff(label[order]) > 0])]
    return first
