"""Prototypes (Sorscher 2022), alone and after SemDeDup (D4)."""

from __future__ import annotations

import numpy as np

from sg.curate.baselines.config import D4Config, PrototypesConfig, SemDedupConfig
from sg.curate.baselines.semdedup import cell_of_each, semdedup_removals
from sg.curate.clustering import Rows
from sg.curate.removals import Removals
from sg.curate.videos import Videos


def prototype_removals(videos: Videos, config: PrototypesConfig) -> Removals:
    """Videos by their cosine to the nearest prototype: for `hard` the most typical goes first."""
    return Removals.plain(_by_prototype(videos, np.arange(len(videos)), config))


def d4_removals(videos: Videos, config: D4Config) -> Removals:
    """What SemDeDup removes down to `dedup_share`, then the rest by prototypes of their own."""
    dedup = SemDedupConfig(seed=config.seed, cells=config.cells, keep=config.dedup_keep, steps=config.steps)
    prototypes = PrototypesConfig(seed=config.seed, cells=config.cells, keep=config.keep, steps=config.steps)
    gone, left = split_after_dedup(videos, dedup, config.dedup_share)
    return Removals.join([gone, Removals.plain(_by_prototype(videos, left, prototypes))])


def split_after_dedup(videos: Videos, config: SemDedupConfig, share: float) -> tuple[Removals, Rows]:
    """The first removals of SemDeDup, and the rows that are left at `share` of the videos."""
    order = semdedup_removals(videos, config)
    cut = len(order) - max(1, round(share * len(order)))
    gone = Removals(order.video[:cut], order.into[:cut], order.similarity[:cut], order.round[:cut])
    return gone, np.sort(order.video[cut:])


def _by_prototype(videos: Videos, rows: Rows, config: PrototypesConfig) -> Rows:
    """`rows` in the order in which they go."""
    _, cosine = cell_of_each(videos.unit[rows], config.cells, config.seed, config.steps)
    key = -cosine if config.keep == "hard" else cosine
    return rows[np.lexsort((-rows, key))]
