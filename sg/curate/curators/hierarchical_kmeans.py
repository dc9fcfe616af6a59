"""Balanced sampling through levels of k-means: rare concepts get as many videos as common ones."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import check_positive
from sg.curate.clustering import Rows, rank_in_group
from sg.curate.curators.kmeans import KMeansConfig, cluster
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig


@dataclass
class HierarchicalKMeansConfig(CuratorConfig):
    """Balanced sampling through levels of k-means (arXiv 2405.15613), without the paper's resampling steps.

    Attributes:
        name: folder of the result.
        seed: draws the initial centres.
        levels: number of clusters of each level, from the lowest to the top; fewer for small corpora.
        keep: in a lowest cluster, `random` or the videos nearest to the centre (`easy`) are taken first.
        steps: Lloyd steps of each level.
    """

    name: str = field(default="hierarchical_kmeans", metadata=NOT_IDENTITY)
    levels: list[int] = field(default_factory=lambda: [20000, 1000, 50])
    keep: str = "random"
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.keep", self.keep, ("random", "easy"))
        check_positive(steps=self.steps, levels=min([len(self.levels), *self.levels]))


@CURATORS.register("hierarchical_kmeans", HierarchicalKMeansConfig)
def curate_by_levels(inputs: CuratorInputs, config: HierarchicalKMeansConfig) -> Curated:
    """Videos in the reverse of the order in which balanced sampling takes them.

    Each cluster of a level takes videos from its children in turns: one from every child that has any left, then one
    from every child again. So its first n videos are shared among the children as evenly as their sizes allow, for
    every n: cores are nested.
    """
    videos = inputs.read_videos(config.seed)
    labels, cosine = cluster_levels(videos.unit, config)
    first = videos.keys.astype(np.float64) if config.keep == "random" else -cosine.astype(np.float64)
    turn = rank_in_group(labels[0], first)
    for label in labels[1:]:
        turn = rank_in_group(label, turn.astype(np.float64))
    taken = np.lexsort((np.arange(len(videos)), turn))
    return Curated.of(videos, Removals.plain(taken[::-1]))


def cluster_levels(
    unit: NDArray[np.floating], config: HierarchicalKMeansConfig
) -> tuple[list[Rows], NDArray[np.floating]]:
    """The [n] clusters of all videos at each level, the lowest first, and [n] cosine to the lowest centre."""
    settings = KMeansConfig(seed=config.seed, steps=config.steps)
    labels: list[Rows] = []
    points, cosine = unit, np.ones(len(unit), unit.dtype)
    for count in config.levels:
        label, nearness = cluster(points, max(1, min(count, len(points) // 2)), settings)
        _, label = np.unique(label, return_inverse=True)
        if not labels:
            cosine = nearness
        labels.append(label if not labels else label[labels[-1]])
        points = _centres(points, label)
    return labels, cosine


def _centres(points: NDArray[np.floating], label: Rows) -> NDArray[np.floating]:
    """[k, d] mean directions of the clusters 0..k-1, none of which is empty."""
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(label[order]) > 0])
    sums = np.add.reduceat(points[order].astype(np.float64), starts, axis=0)
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    return (sums / np.where(lengths > 0, lengths, 1.0)).astype(points.dtype)
