"""What a sharded run knows of all videos: names and lengths, but no vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.vectors import Vectors, read_part_ids, vector_parts
from sg.core.errors import DataError
from sg.curate.order import video_keys
from sg.curate.sharded.jobs import PartJob
from sg.curate.sharded.shards import Rows
from sg.curate.videos import select_videos


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """N videos in the order of their keys, and where their vectors of length `dim` are."""

    ids: list[str]
    keys: NDArray[np.uint64]
    caption_length: Rows
    parts: list[PartJob]
    dim: int

    def __len__(self) -> int:
        return len(self.ids)


def read_corpus(
    folder: Path,
    dim: int,
    captions: Mapping[str, str] | None,
    seed: int,
    wanted: Sequence[str] | None,
    missing: Literal["error", "skip"],
) -> tuple[Corpus, dict[str, str]]:
    """The wanted videos that have a vector in `folder`, and the ids left out with the reason.

    Raises:
        DataError: a part is damaged, an id repeats, or a wanted video has no vector.
        ConfigError: keys clash.
    """
    paths = vector_parts(folder)
    by_part = [read_part_ids(path) for path in paths]
    ids = [video_id for part in by_part for video_id in part]
    if len(set(ids)) < len(ids):
        raise DataError(f"{folder}: {len(ids) - len(set(ids))} video ids repeat: expected one vector a video.")
    excluded: dict[str, str] = {}
    if wanted is not None:
        kept, excluded = select_videos(Vectors(ids, np.empty((len(ids), 0), np.float32), {}), wanted, missing)
        ids = kept.video_ids
    keys = video_keys(ids, seed)
    order = np.argsort(keys)
    names = [ids[row] for row in order.tolist()]
    row_of = {video_id: row for row, video_id in enumerate(names)}
    jobs = [
        PartJob(path, index, np.array([row_of.get(video_id, -1) for video_id in part], np.int64))
        for index, (path, part) in enumerate(zip(paths, by_part, strict=True))
    ]
    lengths = [len(captions.get(video_id, "")) if captions is not None else 0 for video_id in names]
    return Corpus(names, keys[order], np.array(lengths, np.int64), jobs, dim), excluded
