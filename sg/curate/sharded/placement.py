"""Which token lies in which shard: k-means cells, and one file per cell."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sg.core.crew.workers import Map
from sg.curate.clustering import grouped_rows, spherical_kmeans
from sg.curate.matching.bounds import cheapest_basis
from sg.curate.sharded.jobs import GatherJob, PartJob, PlaceJob, gather_cell, place_tokens
from sg.curate.sharded.settings import ShardedTomeConfig
from sg.curate.sharded.shards import Rows, Vectors32

_STEPS = 10


def centres_of(sample: Vectors32, tokens: int, config: ShardedTomeConfig) -> Vectors32:
    """[K, d] unit centres, trained on `sample` [k, d]; K is the number of shards that `tokens` tokens fill."""
    cells = max(1, round(tokens / config.rows_per_shard))
    centres = spherical_kmeans(sample, cells, seed=config.seed % 2**32, steps=_STEPS)
    return centres.astype(np.float32, copy=False)


def basis_of(sample: Vectors32, config: ShardedTomeConfig) -> Vectors32:
    """[d, p] principal directions of `sample` [k, d] for the bound of `projected`."""
    return cheapest_basis(sample, config.projected_dims).numpy().astype(np.float32)


def place(mapped: Map, sources: Sequence[PartJob | Path], rows: Rows, centres: Vectors32, folder: Path) -> Rows:
    """Write the shards of `centres` [K, d] into `folder`, from parts or other shards.

    Returns the cell of each of `rows` [n], which are the rows that the sources hold, in rising order.
    """
    # Two maps instead of one: a job reads one source and writes a piece per cell, then a job per cell joins its pieces.
    # So no process holds more than one source or one cell.
    shutil.rmtree(folder, ignore_errors=True)
    list(mapped(place_tokens, [PlaceJob(source, k, centres, folder) for k, source in enumerate(sources)]))
    gathered = mapped(gather_cell, [GatherJob(folder, k, centres.shape[1]) for k in range(len(centres))])
    cell = np.empty(len(rows), np.int64)
    for number, members in enumerate(gathered):
        cell[np.searchsorted(rows, members)] = number
    for pieces in folder.glob("for-*"):
        shutil.rmtree(pieces)
    return cell


def grouped(group: Rows, groups: int) -> list[Rows]:
    """For each of the `groups` groups: the positions of its members in `group` [n], rising."""
    order, borders = grouped_rows(group, groups)
    return [order[begin:end] for begin, end in itertools.pairwise(borders.tolist())]
