"""The jobs of a sharded run: plain functions over one shard, or one part of the input, which any machine can run.

A job names its files and carries no vectors except the centres of the cells; its answer holds rows and scores. A job
may run twice: it reads files of the current round and writes files of the next one, atomically.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sg.artefacts.vectors import read_part
from sg.curate.clustering import nearest_centres
from sg.curate.matching.exact import Matches
from sg.curate.matching.matchers import Matchers, unit_tensor
from sg.curate.removals import Removals, row_cosines
from sg.curate.sharded.shards import (
    Rows,
    TokenShard,
    Vectors32,
    cell_path,
    join,
    piece_path,
    piece_paths,
    read_means,
    read_shard,
    write_shard,
)
from sg.curate.tome.rounds import Edges, Tokens, merge_groups
from sg.curate.tome.settings import TomeConfig
from sg.curate.tome.survivors import choose_winners, removals_of_round, survivor_rule
from sg.curate.videos import Videos, unit_rows


@dataclass(frozen=True, slots=True, eq=False)
class PartJob:
    """A part of the vectors; `row` [n] are the rows of its videos in the corpus, -1 for videos that are left out."""

    path: Path
    index: int
    row: Rows

    def read(self) -> tuple[Rows, Vectors32]:
        """The rows that are not left out, and their stored vectors."""
        _, matrix = read_part(self.path)
        kept = self.row >= 0
        return self.row[kept], matrix[kept]


@dataclass(frozen=True, slots=True, eq=False)
class ScanJob:
    """Scan a part, and take a sample of every `every`-th row."""

    part: PartJob
    every: int


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A scanned part.

    Attributes:
        row: [n] its rows.
        digest: [n, 2] uint64 hash of the stored vector of each row: equal vectors have equal digests.
        sample: [k] rows of the sample.
        sampled: [k, d] their unit vectors.
    """

    row: Rows
    digest: NDArray[np.uint64]
    sample: Rows
    sampled: Vectors32


def scan_part(job: ScanJob) -> Scan:
    """The digests of all vectors of a part, and a sample of its unit vectors."""
    row, stored = job.part.read()
    digests = b"".join(hashlib.blake2b(vector.data, digest_size=16).digest() for vector in np.ascontiguousarray(stored))
    chosen = row % job.every == 0
    return Scan(row, np.frombuffer(digests, np.uint64).reshape(-1, 2), row[chosen], unit_rows(stored[chosen]))


@dataclass(frozen=True, slots=True, eq=False)
class PlaceJob:
    """Send the tokens of a part, or of the shard in the file `source`, to the cells of `centres` [K, d]."""

    source: PartJob | Path
    origin: int
    centres: Vectors32
    folder: Path


def place_tokens(job: PlaceJob) -> Rows:
    """Write the tokens to one file per cell; returns [K] how many tokens each cell received."""
    if isinstance(job.source, Path):
        shard = read_shard(job.source)
    else:
        row, stored = job.source.read()
        unit = unit_rows(stored)
        shard = TokenShard.of(row, unit, unit)
    cell, _ = nearest_centres(unit_tensor(shard.mean, np.arange(len(shard))).numpy(), job.centres)
    for number in np.unique(cell).tolist():
        write_shard(piece_path(job.folder, number, job.origin), shard.at(np.flatnonzero(cell == number)))
    return np.bincount(cell, minlength=len(job.centres))


@dataclass(frozen=True, slots=True, eq=False)
class GatherJob:
    """Join the pieces that were sent to a cell into its shard in `folder`."""

    folder: Path
    cell: int
    dim: int


def gather_cell(job: GatherJob) -> Rows:
    """Write the shard of the cell; returns its rows."""
    shard = join([read_shard(path) for path in piece_paths(job.folder, job.cell)], job.dim)
    write_shard(cell_path(job.folder, job.cell), shard)
    return shard.row


@dataclass(frozen=True, slots=True, eq=False)
class CellJob:
    """A cell in a round.

    Attributes:
        folder: folder of the shards of this round.
        visits: folder of the sources that cells send to each other in this round.
        cell: number of the cell.
        is_source: [m] True for each token of the cell on side A.
        centres: [K, d] unit centres of all cells.
        basis: [d, p] principal directions for the bound of `projected`.
        probed: cells that a source is compared with, its own included.
        config: settings of ToMe.
    """

    folder: Path
    visits: Path
    cell: int
    is_source: NDArray[np.bool_]
    centres: Vectors32
    basis: Vectors32
    probed: int
    config: TomeConfig

    def home(self) -> TokenShard:
        """The tokens of the cell."""
        return read_shard(cell_path(self.folder, self.cell))

    def visitors(self) -> list[Path]:
        """The files of the sources of other cells that are compared with the targets of this one."""
        return piece_paths(self.visits, self.cell)

    def match(self, vectors: Vectors32, sources: Rows, targets: Rows) -> Matches:
        """The best of `targets` for each of `sources`, which are rows of `vectors`."""
        return Matchers(self.config, vectors, torch.from_numpy(self.basis)).match(vectors, sources, targets)


def send_visitors(job: CellJob) -> None:
    """Send each source to the cells nearest to it, its own excepted."""
    sources = job.home().at(np.flatnonzero(job.is_source))
    count = min(job.probed, len(job.centres))
    if count < 2 or not len(sources):
        return
    unit = unit_tensor(sources.mean, np.arange(len(sources)))
    scores = unit @ torch.from_numpy(job.centres).T
    scores[:, job.cell] = -torch.inf  # its own cell compares the source anyway
    nearest = scores.topk(count - 1, dim=1).indices.numpy()
    for number in np.unique(nearest).tolist():
        chosen = sources.at(np.flatnonzero((nearest == number).any(axis=1)))
        write_shard(piece_path(job.visits, number, job.cell), chosen)


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """For n sources: `source` and `target` rows and `score` float64, all [n]."""

    source: Rows
    target: Rows
    score: NDArray[np.float64]


def match_cell(job: CellJob) -> Proposals:
    """The best target of the cell for each of its sources and visitors; empty if the cell has no target."""
    # Targets stay in the order of their rows: ties go to the lowest row.
    rows, means = zip(*map(read_means, [cell_path(job.folder, job.cell), *job.visitors()]), strict=True)
    row, mean = np.concatenate(rows), np.concatenate(means)
    targets = np.flatnonzero(~job.is_source)
    sources = np.r_[np.flatnonzero(job.is_source), len(job.is_source) : len(row)]
    if not len(targets) or not len(sources):
        return Proposals(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    found = job.match(mean, sources, targets)
    return Proposals(row[sources], row[targets[found.target]], found.score)


@dataclass(frozen=True, slots=True, eq=False)
class ApplyJob:
    """Carry out the edges of a round whose targets lie in one cell.

    Attributes:
        cell: the cell.
        number: of the round.
        source: [r] source rows of the edges, by falling score.
        target: [r] target rows.
        score: [r] scores.
        leaving: rows that leave the cell because they are sources of an edge, whichever cell the target lies in.
        row: [t] the tokens that the edges touch, rising.
        size: [t] their sizes.
        representative: [t] their representatives.
        caption_length: [t] the caption lengths of the representatives.
        into: folder of the shards of the next round.
    """

    cell: CellJob
    number: int
    source: Rows
    target: Rows
    score: NDArray[np.float64]
    leaving: Rows
    row: Rows
    size: Rows
    representative: Rows
    caption_length: Rows
    into: Path


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """The result of the edges of a cell.

    Attributes:
        grown: [h] rows of the targets that received sources.
        size: [h] their new sizes.
        representative: [h] their new representatives.
        removals: [r] the removed videos, one per edge.
        rep_similarity: [r] cosine of each removed video with the one it was merged into.
    """

    grown: Rows
    size: Rows
    representative: Rows
    removals: Removals
    rep_similarity: NDArray[np.float64]


def apply_edges(job: ApplyJob) -> Applied:
    """Merge, choose the representatives of the clusters, and write the shard of the cell for the next round."""
    home = job.cell.home()
    stays = home.at(np.flatnonzero(~np.isin(home.row, job.leaving)))
    if not len(job.source):
        write_shard(cell_path(job.into, job.cell.cell), stays)
        nothing = np.empty(0, np.int64)
        return Applied(nothing, nothing, nothing, Removals.none(), np.empty(0))
    # Sources from other cells are among the visitors: only cells that a source visited can hold its target.
    shards = (home, *map(read_shard, job.cell.visitors()))
    touched = join([s.at(np.flatnonzero(np.isin(s.row, job.row))) for s in shards], job.cell.centres.shape[1])
    videos, tokens, names = _touched_videos(job, touched)
    edges = Edges(np.searchsorted(job.row, job.source), np.searchsorted(job.row, job.target), job.score)
    groups = merge_groups(tokens, edges)
    winners = choose_winners(survivor_rule(job.cell.config.survivor), tokens, edges, groups, videos)
    removals = removals_of_round(tokens, edges, groups, winners, job.number)
    similarity = row_cosines(videos.unit, removals.video, removals.into)
    grown = job.row[groups.target]
    mean, own = stays.mean.copy(), stays.representatives()
    place = np.searchsorted(stays.row, grown)
    mean[place], own[place] = groups.mean, videos.unit[winners]
    write_shard(cell_path(job.into, job.cell.cell), TokenShard.of(stays.row, mean, own))
    named = Removals(names[removals.video], names[removals.into], removals.similarity, removals.round)
    return Applied(grown, groups.size, names[winners], named, similarity)


def _touched_videos(job: ApplyJob, touched: TokenShard) -> tuple[Videos, Tokens, Rows]:
    """The representatives of the touched tokens as `Videos`, the tokens, and [t] the corpus row of each of the videos.

    The functions of a round in memory work on positions, so rows are renumbered in rising order. A tie that goes to the
    lower position then goes to the lower row, as in memory.
    """
    order = np.argsort(job.representative)
    names = job.representative[order]
    videos = Videos([], names.astype(np.uint64), touched.representatives()[order], names, job.caption_length[order])
    place = np.arange(len(touched))
    tokens = Tokens(job.row, np.searchsorted(names, job.representative), job.size, touched.mean, place)
    return videos, tokens, names


@dataclass(frozen=True, slots=True, eq=False)
class CheckJob:
    """Compare sampled sources, unit `vectors` [s, d], with all targets of a cell."""

    cell: CellJob
    vectors: Vectors32


def best_in_cell(job: CheckJob) -> tuple[Rows, NDArray[np.float64]]:
    """[s] row of the best target in the cell (-1 if it has none), and [s] its score."""
    row, mean = read_means(cell_path(job.cell.folder, job.cell.cell))
    targets = np.flatnonzero(~job.cell.is_source)
    if not len(targets):
        return np.full(len(job.vectors), -1), np.full(len(job.vectors), -np.inf)
    both = np.concatenate([mean, job.vectors])
    found = job.cell.match(both, np.arange(len(mean), len(both)), targets)
    return row[targets[found.target]], found.score


def means_of(job: tuple[Path, Rows]) -> Vectors32:
    """[k, d] means of the tokens with the given rows in the file of a shard."""
    path, rows = job
    row, mean = read_means(path)
    return mean[np.searchsorted(row, rows)]
