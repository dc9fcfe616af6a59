"""Tokens in files: a shard holds the tokens of a k-means cell, with all vectors that a round needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sg.core.files import atomic_path
from sg.curate.arrays import read_arrays

Rows = NDArray[np.int64]
Vectors32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenShard:
    """m tokens, by rising `row`.

    Attributes:
        row: [m] the video whose key the token carries.
        mean: [m, d] float32 means of the vectors of their videos.
        apart: [k] positions of the tokens whose mean differs from the vector of their representative.
        own: [k, d] float32 unit vectors of those representatives. The others need no second vector, which saves half of
            the disk space in early rounds.
    """

    row: Rows
    mean: Vectors32
    apart: Rows
    own: Vectors32

    def __len__(self) -> int:
        return len(self.row)

    @staticmethod
    def singletons(row: Rows, unit: Vectors32) -> TokenShard:
        """Tokens of one video each, or of several videos with equal vectors."""
        return TokenShard(row, unit, np.empty(0, np.int64), np.empty((0, unit.shape[1]), np.float32))

    @staticmethod
    def of(row: Rows, mean: Vectors32, representative: Vectors32) -> TokenShard:
        """Tokens with the vectors of their representatives, all [m, ...], in any order."""
        order = np.argsort(row, kind="stable")
        row, mean, representative = row[order], mean[order], representative[order]
        apart = np.flatnonzero((mean != representative).any(axis=1))
        return TokenShard(row, mean, apart, representative[apart])

    def representatives(self) -> Vectors32:
        """[m, d] the vectors of the representatives."""
        result = self.mean.copy()
        result[self.apart] = self.own
        return result

    def part(self, rows: Rows) -> TokenShard:
        """The tokens with the given `rows`, which rise and all exist in this shard."""
        return self.at(np.searchsorted(self.row, rows))

    def at(self, positions: Rows) -> TokenShard:
        """The tokens at rising positions."""
        is_apart = np.isin(self.apart, positions)
        return TokenShard(
            self.row[positions],
            self.mean[positions],
            np.searchsorted(positions, self.apart[is_apart]),
            self.own[is_apart],
        )


def join(shards: Sequence[TokenShard], dim: int) -> TokenShard:
    """The tokens of several shards."""
    empty = TokenShard.singletons(np.empty(0, np.int64), np.empty((0, dim), np.float32))
    shards = [empty, *shards]
    row, mean = np.concatenate([shard.row for shard in shards]), np.concatenate([shard.mean for shard in shards])
    return TokenShard.of(row, mean, np.concatenate([shard.representatives() for shard in shards]))


def write_shard(path: Path, shard: TokenShard) -> Path:
    """Write a shard, whole or not at all."""
    with atomic_path(path, durable=False) as temporary:
        np.savez(temporary, row=shard.row, mean=shard.mean, apart=shard.apart, own=shard.own)
    return path


def read_means(path: Path) -> tuple[Rows, Vectors32]:
    """The rows and means of the shard in a file, without the vectors of its representatives."""
    data = read_arrays(path, ("row", "mean"))
    return data["row"], data["mean"]


def read_shard(path: Path) -> TokenShard:
    """The shard in a file; DataError if it is damaged."""
    data = read_arrays(path)
    return TokenShard(data["row"], data["mean"], data["apart"], data["own"])


def cell_path(folder: Path, cell: int) -> Path:
    """The file of the shard of a cell in the folder of a round."""
    return folder / f"cell-{cell:06d}.npz"


def piece_path(folder: Path, cell: int, origin: int) -> Path:
    """The file of the tokens that a part of the input, or another cell, sends to a cell."""
    return folder / f"for-{cell:06d}" / f"from-{origin:06d}.npz"


def piece_paths(folder: Path, cell: int) -> list[Path]:
    """The files of the tokens that were sent to a cell."""
    return sorted((folder / f"for-{cell:06d}").glob("from-*.npz"))
