"""The steps of every engine: videos to batches, batches to vectors, vectors to parts.

A batch is `batch_size` consecutive videos of one part, including those that cannot be read. So the bytes of a part
depend neither on where an earlier run was interrupted nor on the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.manifest import VideoRecord
from sg.core.errors import ConfigError, SgError
from sg.core.progress import Progress
from sg.embed.parts import Part, Quarantined, write_part
from sg.embed.registry import Embedder
from sg.embed.video_files import DecodedVideo, DecodeJob, FileStamp, outcome_stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive videos of a part; `number` counts the batches of the part."""

    part: int
    number: int
    records: tuple[VideoRecord, ...]


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """The videos of a batch that could be read, and why the others could not."""

    batch: Batch
    ids: tuple[str, ...]
    frames: NDArray[np.uint8] | None
    """uint8 [B, T, H, W, 3]; None if no video of the batch could be read."""
    left_out: tuple[Quarantined, ...]
    stamps: tuple[FileStamp, ...]
    """Of all videos of the batch."""


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """The vectors of a batch."""

    batch: Batch
    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    """float32 [B, dim]; [0, dim] if no video could be read."""
    left_out: tuple[Quarantined, ...]
    stamps: tuple[FileStamp, ...]


def plan_batches(parts: Sequence[Part], batch_size: int) -> Iterator[Batch]:
    """The batches of the parts, in order."""
    for part in parts:
        for number, start in enumerate(range(0, len(part.records), batch_size)):
            yield Batch(part.index, number, part.records[start : start + batch_size])


def decoded(batch: Batch, outcomes: Sequence[tuple[DecodeJob, DecodedVideo | SgError]]) -> DecodedBatch:
    """Assemble the videos of a batch.

    Raises:
        ConfigError: one is among the outcomes; it would occur for every video.
    """
    import numpy as np

    for _, outcome in outcomes:
        if isinstance(outcome, ConfigError):
            raise outcome
    videos = [(job.record.video_id, video) for job, video in outcomes if isinstance(video, DecodedVideo)]
    problems = [
        Quarantined(job.record.video_id, getattr(error, "status", "unreadable"), str(error))
        for job, error in outcomes
        if isinstance(error, SgError)
    ]
    return DecodedBatch(
        batch,
        tuple(video_id for video_id, _ in videos),
        np.stack([video.frames for _, video in videos]) if videos else None,
        tuple(problems),
        tuple(outcome_stamp(job, outcome) for job, outcome in outcomes),
    )


def embedded(frames: DecodedBatch, embedder: Embedder) -> EmbeddedBatch:
    """Compute the vectors of a batch."""
    import numpy as np

    vectors = np.empty((0, embedder.dim), np.float32) if frames.frames is None else embedder.embed(frames.frames)
    return EmbeddedBatch(frames.batch, frames.ids, vectors, frames.left_out, frames.stamps)


class PartWriter:
    """Collects batches in any order and writes a part when its last batch has arrived."""

    def __init__(self, parts: Sequence[Part], batch_size: int, folder: Path, bar: Progress) -> None:
        self._parts = {part.index: part for part in parts}
        self._batch_size, self._folder, self._bar = batch_size, folder, bar
        self._waiting: dict[int, dict[int, EmbeddedBatch]] = {}

    def add(self, batch: EmbeddedBatch) -> None:
        """Accept a batch; videos that were left out are counted as failed."""
        part = self._parts[batch.batch.part]
        batches = self._waiting.setdefault(part.index, {})
        batches[batch.batch.number] = batch
        self._bar.advance(len(batch.ids))
        if batch.left_out:
            self._bar.fail(len(batch.left_out))
        if len(batches) * self._batch_size >= len(part.records):
            self._write(part, [batches[number] for number in sorted(batches)])
            del self._waiting[part.index]

    def _write(self, part: Part, batches: Sequence[EmbeddedBatch]) -> None:
        import numpy as np

        write_part(
            self._folder,
            part,
            [video_id for batch in batches for video_id in batch.ids],
            np.concatenate([batch.vectors for batch in batches]),
            [row for batch in batches for row in batch.left_out],
            [stamp for batch in batches for stamp in batch.stamps],
        )
