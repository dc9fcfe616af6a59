"""Tokens in files: a shard holds those of a k-means cell, with all that a round needs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sg.core.files import atomic_path

Rows = NDArray[np.int64]
Vectors32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """m tokens, by rising `row`.

    Attributes:
        row: [m] the video whose key the token carries.
        mean: [m, d] float32 mean of its videos' vectors.
        apart: [k] positions of the tokens whose representative's own vector is not their mean.
        own: [k, d] float32 unit vectors of those representatives.
    """

    row: Rows
    mean: Vectors32
    apart: Rows
    own: Vectors32

    def __len__(self) -> int:
        return len(self.row)

    @staticmethod
    def singletons(row: Rows, unit: Vectors32) -> Shard:
        """Tokens of one video each (or of several equal ones)."""
        return Shard(row, unit, np.empty(0, np.int64), np.empty((0, unit.shape[1]), np.float32))

    @staticmethod
    def of(row: Rows, mean: Vectors32, representative: Vectors32) -> Shard:
        """Tokens with the own vectors of their representatives, all [m, ...], in any order."""
        order = np.argsort(row, kind="stable")
        row, mean, representative = row[order], mean[order], representative[order]
        apart = np.flatnonzero((mean != representative).any(axis=1))
        return Shard(row, mean, apart, representative[apart])

    def representatives(self) -> Vectors32:
        """[m, d] the representatives' own vectors."""
        result = self.mean.copy()
        result[self.apart] = self.own
        return result

    def part(self, rows: Rows) -> Shard:
        """The tokens with those `row`s, which are rising and all there."""
        return self.at(np.searchsorted(self.row, rows))

    def at(self, positions: Rows) -> Shard:
        """The tokens at rising positions."""
        is_apart = np.isin(self.apart, positions)
        return Shard(
            self.row[positions],
            self.mean[positions],
            np.searchsorted(positions, self.apart[is_apart]),
            self.own[is_apart],
        )


def join(shards: Sequence[Shard], dim: int) -> Shard:
    """The tokens of several shards."""
    empty = Shard.singletons(np.empty(0, np.int64), np.empty((0, dim), np.float32))
    shards = [empty, *shards]
    row, mean = np.concatenate([shard.row for shard in shards]), np.concatenate([shard.mean for shard in shards])
    return Shard.of(row, mean, np.concatenate([shard.representatives() for shard in shards]))


def write_shard(path: Path, shard: Shard) -> Path:
    """Write a shard, whole or not at all."""
    with atomic_path(path) as temporary:
        np.savez(temporary, row=shard.row, mean=shard.mean, apart=shard.apart, own=shard.own)
    return path


def read_shard(path: Path) -> Shard:
    """The shard in a file."""
    with np.load(path) as data:
        return Shard(data["row"], data["mean"], data["apart"], data["own"])


def cell_path(folder: Path, cell: int) -> Path:
    """Where the shard of a cell lies in the folder of a round."""
    return folder / f"cell-{cell:06d}.npz"


def piece_path(folder: Path, cell: int, origin: int) -> Path:
    """Where the tokens for a cell lie that come from a part of the input, or from another cell."""
    return folder / f"for-{cell:06d}" / f"from-{origin:06d}.npz"


def read_pieces(folder: Path, cell: int, dim: int) -> Shard:
    """All tokens that were sent to a cell."""
    return join([read_shard(path) for path in sorted((folder / f"for-{cell:06d}").glob("from-*.npz"))], dim)
