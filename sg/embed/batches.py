"""From videos to the parts of the result, batch by batch.

A batch is `batch_size` consecutive videos of one part, including those that cannot be read. So the bytes of a part
depend neither on where an earlier run was interrupted nor on the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.manifest import VideoRecord
from sg.core.errors import ConfigError, SgError
from sg.core.progress import Progress
from sg.embed.parts import Part, Quarantined, write_part
from sg.embed.registry import EMBEDDERS
from sg.embed.settings import EmbedderConfig
from sg.embed.video_files import (
    DecodedVideo,
    FileStamp,
    FrameSettings,
    frame_settings,
    outcome_stamp,
    read_video,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """The vectors of a batch, and why some of its videos have none."""

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    """float32 [B, dim]; [0, dim] if no video could be read."""
    left_out: tuple[Quarantined, ...]
    stamps: tuple[FileStamp, ...]
    """Of all videos of the batch."""


class BatchEmbedder:
    """A loaded model that takes the videos of a batch."""

    def __init__(self, config: EmbedderConfig, settings: FrameSettings) -> None:
        self._embedder, self._settings = EMBEDDERS.of(config)(config), settings

    def __call__(self, outcomes: Sequence[tuple[VideoRecord, DecodedVideo | SgError]]) -> EmbeddedBatch:
        """The vectors of the videos that could be read.

        Raises:
            ConfigError: one is among the outcomes; it would occur for every video.
            DataError: the folder of the videos is gone.
        """
        import numpy as np

        for _, outcome in outcomes:
            if isinstance(outcome, ConfigError):
                raise outcome
        videos = [(record.video_id, video) for record, video in outcomes if isinstance(video, DecodedVideo)]
        problems = [
            Quarantined(record.video_id, getattr(error, "status", "unreadable"), str(error))
            for record, error in outcomes
            if isinstance(error, SgError)
        ]
        stamps = tuple(outcome_stamp(self._settings, record, outcome) for record, outcome in outcomes)
        vectors = (
            self._embedder.embed(np.stack([video.frames for _, video in videos]))
            if videos
            else np.empty((0, self._embedder.dim), np.float32)
        )
        return EmbeddedBatch(tuple(video_id for video_id, _ in videos), vectors, tuple(problems), stamps)


def embed_parts(
    parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, engine: str, bar: Progress
) -> None:
    """Embed the videos of `parts` and write each part when its last batch is done.

    Videos that were left out are counted as failed.
    """
    from sg.video.maps import VideoMap

    settings = frame_settings(videos, config)
    work = VideoMap(
        partial(read_video, settings), partial(BatchEmbedder, config, settings), config.workers, config.timeout_s
    )
    batches = [list(_batches(part, config.batch_size)) for part in parts]
    found = work.over((batch for of_part in batches for batch in of_part), engine)
    for part, of_part in zip(parts, batches, strict=True):
        done = []
        for _ in of_part:
            done.append(batch := next(found))
            bar.advance(len(batch.ids))
            if batch.left_out:
                bar.fail(len(batch.left_out))
        _write(folder, part, done)


def _batches(part: Part, size: int) -> Iterator[tuple[VideoRecord, ...]]:
    for start in range(0, len(part.records), size):
        yield part.records[start : start + size]


def _write(folder: Path, part: Part, batches: Sequence[EmbeddedBatch]) -> None:
    import numpy as np

    write_part(
        folder,
        part,
        [video_id for batch in batches for video_id in batch.ids],
        np.concatenate([batch.vectors for batch in batches]),
        [row for batch in batches for row in batch.left_out],
        [stamp for batch in batches for stamp in batch.stamps],
    )
