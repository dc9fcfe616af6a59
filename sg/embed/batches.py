"""The steps of every engine: films to batches, batches to vectors, vectors to parts.

A batch is `batch_size` consecutive films of one part, whichever of them can be read: so the bytes of a part depend
neither on where an earlier run was cut off nor on the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.manifest import VideoRecord
from sg.core.errors import ConfigError, SgError
from sg.core.progress import Progress
from sg.embed.embedders import Embedder
from sg.embed.films import Film, FilmJob, FilmStamp, stamp_of
from sg.embed.parts import Part, Quarantined, write_part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive films of a part; `number` counts the batches of the part."""

    part: int
    number: int
    records: tuple[VideoRecord, ...]


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """The films of a batch that could be read, and why the others could not."""

    batch: Batch
    ids: tuple[str, ...]
    frames: NDArray[np.uint8] | None
    """uint8 [B, T, H, W, 3]; None where no film of the batch could be read."""
    left_out: tuple[Quarantined, ...]
    stamps: tuple[FilmStamp, ...]
    """Of all films of the batch."""


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """The vectors of a batch."""

    batch: Batch
    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    """float32 [B, dim]; [0, dim] where no film could be read."""
    left_out: tuple[Quarantined, ...]
    stamps: tuple[FilmStamp, ...]


def plan_batches(parts: Sequence[Part], batch_size: int) -> Iterator[Batch]:
    """The batches of the parts, in order."""
    for part in parts:
        for number, start in enumerate(range(0, len(part.records), batch_size)):
            yield Batch(part.index, number, part.records[start : start + batch_size])


def decoded(batch: Batch, outcomes: Sequence[tuple[FilmJob, Film | SgError]]) -> DecodedBatch:
    """Put the films of a batch together; a ConfigError among the outcomes would hit every film, and is raised."""
    import numpy as np

    for _, outcome in outcomes:
        if isinstance(outcome, ConfigError):
            raise outcome
    films = [(job.record.video_id, film) for job, film in outcomes if isinstance(film, Film)]
    problems = [
        Quarantined(job.record.video_id, getattr(error, "status", "unreadable"), str(error))
        for job, error in outcomes
        if isinstance(error, SgError)
    ]
    return DecodedBatch(
        batch,
        tuple(video_id for video_id, _ in films),
        np.stack([film.frames for _, film in films]) if films else None,
        tuple(problems),
        tuple(stamp_of(job, outcome) for job, outcome in outcomes),
    )


def embedded(films: DecodedBatch, embedder: Embedder) -> EmbeddedBatch:
    """Put a batch through the model."""
    import numpy as np

    vectors = np.empty((0, embedder.dim), np.float32) if films.frames is None else embedder.embed(films.frames)
    return EmbeddedBatch(films.batch, films.ids, vectors, films.left_out, films.stamps)


class PartWriter:
    """Collects batches in any order and writes a part when its last batch is there."""

    def __init__(self, parts: Sequence[Part], batch_size: int, folder: Path, bar: Progress) -> None:
        self._parts = {part.index: part for part in parts}
        self._batch_size, self._folder, self._bar = batch_size, folder, bar
        self._waiting: dict[int, dict[int, EmbeddedBatch]] = {}

    def add(self, batch: EmbeddedBatch) -> None:
        """Take a batch; films that were left out are counted as failed."""
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
