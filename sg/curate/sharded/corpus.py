"""What a sharded run holds in memory about all videos: ids and caption lengths, but no vectors."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.vectors import read_part_ids, vector_parts
from sg.core.errors import DataError
from sg.curate.order import video_keys
from sg.curate.sharded.jobs import PartJob
from sg.curate.sharded.shards import Rows


@dataclass(frozen=True, slots=True, eq=False)
class ShardedCorpus:
    """N videos in the order of their keys, and the parts that hold their vectors of length `dim`."""

    ids: list[str]
    keys: NDArray[np.uint64]
    caption_length: Rows
    parts: list[PartJob]
    dim: int

    def __len__(self) -> int:
        return len(self.ids)


def read_corpus(
    folder: Path, dim: int, video_ids: Collection[str], captions: Mapping[str, str] | None, seed: int
) -> ShardedCorpus:
    """The given videos, whose vectors lie in `folder`.

    Raises:
        DataError: a part is damaged, or an id repeats.
        ConfigError: two ids have the same hash.
    """
    paths = vector_parts(folder)
    by_part = [read_part_ids(path) for path in paths]
    stored = [video_id for part in by_part for video_id in part]
    if len(set(stored)) < len(stored):
        raise DataError(f"{folder}: {len(stored) - len(set(stored))} video ids repeat: expected one vector per video.")
    chosen = set(video_ids)
    ids = [video_id for video_id in stored if video_id in chosen]
    keys = video_keys(ids, seed)
    order = np.argsort(keys)
    names = [ids[row] for row in order.tolist()]
    row_of = {video_id: row for row, video_id in enumerate(names)}
    jobs = [
        PartJob(path, index, np.array([row_of.get(video_id, -1) for video_id in part], np.int64))
        for index, (path, part) in enumerate(zip(paths, by_part, strict=True))
    ]
    lengths = [len(captions.get(video_id, "")) if captions is not None else 0 for video_id in names]
    return ShardedCorpus(names, keys[order], np.array(lengths, np.int64), jobs, dim)
