"""The local engine: worker processes decode, a thread fetches, the model embeds batch after batch."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sg.artefacts.manifest import VideoRecord, video_path
from sg.core.errors import SgError
from sg.core.progress import Progress
from sg.embed.config import EmbedderConfig
from sg.embed.embedders import Embedder
from sg.embed.parts import Part, Quarantined, write_part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ClipJob:
    """One film to decode in a worker."""

    part: int
    record: VideoRecord
    videos: Path
    num_frames: int
    image_size: int
    antialias: bool
    reader: str


def read_clip(job: ClipJob) -> NDArray[np.uint8]:
    """The sampled frames of a film at the embedder's size: uint8 [T, size, size, 3]."""
    from sg.video.reader import read_frames
    from sg.video.resize import resize
    from sg.video.sampling import MiddleOfSegments

    frames = read_frames(video_path(job.videos, job.record), MiddleOfSegments(job.num_frames), job.reader).frames
    return resize(frames, job.image_size, job.image_size, job.antialias)


def embed_parts(
    parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, embedder: Embedder, bar: Progress
) -> None:
    """Embed the films of `parts` and write each part when its last film is done.

    Batches never reach over the border of a part, so a part's bytes do not depend on where an earlier run was cut off.
    """
    from sg.video.workers import WorkerPool

    jobs = (
        ClipJob(part.index, record, videos, config.num_frames, config.image_size, config.antialias, config.reader)
        for part in parts
        for record in part.records
    )
    num_workers = config.workers or os.cpu_count() or 1
    with (
        WorkerPool(read_clip, num_workers, config.timeout_s) as pool,
        contextlib.closing(prefetched(pool.map(jobs), depth=4 * config.batch_size)) as clips,
    ):
        for part in parts:
            _embed_part(part, clips, folder, config.batch_size, embedder, bar)


def _embed_part(
    part: Part,
    clips: Iterator[tuple[ClipJob, NDArray[np.uint8] | SgError]],
    folder: Path,
    batch_size: int,
    embedder: Embedder,
    bar: Progress,
) -> None:
    import numpy as np

    ids: list[str] = []
    batch: list[NDArray[np.uint8]] = []
    vectors = [np.empty((0, embedder.dim), np.float32)]
    left_out: list[Quarantined] = []
    for record in part.records:
        _, clip = next(clips)
        if isinstance(clip, SgError):
            left_out.append(Quarantined(record.video_id, getattr(clip, "status", "unreadable"), str(clip)))
            bar.fail()
            continue
        ids.append(record.video_id)
        batch.append(clip)
        if len(batch) == batch_size:
            vectors.append(embedder.embed(np.stack(batch)))
            bar.advance(len(batch))
            batch.clear()
    if batch:
        vectors.append(embedder.embed(np.stack(batch)))
        bar.advance(len(batch))
    write_part(folder, part, ids, np.concatenate(vectors), left_out)


def prefetched(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, fetched ahead by a thread, at most `depth` of them; its errors are raised here."""
    waiting: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(is_item: bool, value: Item | BaseException | None) -> None:
        placed = False
        while not placed and not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put((is_item, value), timeout=0.5)
                placed = True

    def fetch() -> None:
        try:
            for item in items:
                put(True, item)
                if stopped.is_set():
                    return
            put(False, None)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
            put(False, error)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = waiting.get()
            if is_item:
                yield value  # type: ignore[misc]
            elif isinstance(value, BaseException):
                raise value
            else:
                return
    finally:
        stopped.set()
        thread.join(1)
