"""The local engine: processes decode, a thread assembles batches, the model takes one batch after another."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sg.core.progress import Progress
from sg.embed.batches import DecodedBatch, PartWriter, decoded, embedded, plan_batches
from sg.embed.parts import Part
from sg.embed.registry import Embedder
from sg.embed.settings import EmbedderConfig
from sg.embed.video_files import DecodeJob, FrameSettings, frame_settings, read_video

Item = TypeVar("Item")

_BATCHES_AHEAD = 3
"""Batches that may wait for the model: one to take next, and a reserve for videos that take long to decode."""


def embed_parts(
    parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, embedder: Embedder, bar: Progress
) -> None:
    """Embed the videos of `parts` and write each part when its last batch is done.

    While the model computes one batch, the next ones are decoded and assembled.
    """
    writer = PartWriter(parts, config.batch_size, folder, bar)
    batches = decoded_batches(parts, frame_settings(videos, config), config)
    with contextlib.closing(prefetched(batches, depth=_BATCHES_AHEAD)) as waiting:
        for batch in waiting:
            writer.add(embedded(batch, embedder))


def decoded_batches(
    parts: Sequence[Part], settings: FrameSettings, config: EmbedderConfig
) -> Generator[DecodedBatch, None, None]:
    """The batches of the parts in order, their videos decoded by `config.workers` processes."""
    from sg.video.workers import WorkerPool

    jobs = (DecodeJob(record, settings) for part in parts for record in part.records)
    with WorkerPool(read_video, config.workers or os.cpu_count() or 1, config.timeout_s) as pool:
        outcomes: Iterator[tuple[DecodeJob, object]] = pool.map(jobs)
        for batch in plan_batches(parts, config.batch_size):
            yield decoded(batch, list(islice(outcomes, len(batch.records))))  # type: ignore[arg-type]


def prefetched(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, fetched by a thread that runs at most `depth` items ahead; its errors are raised here.

    When the caller stops early, the thread closes `items` if it is a generator: only the thread that runs a generator
    may close it.
    """
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
                    break
            put(False, None)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the caller
            put(False, error)
        finally:
            if isinstance(items, Generator):
                items.close()

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
