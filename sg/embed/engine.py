"""The local engine: processes decode, a thread puts batches together, the model takes one batch after the other."""

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
from sg.embed.config import EmbedderConfig
from sg.embed.embedders import Embedder
from sg.embed.films import FilmJob, FilmSettings, film_settings, read_film
from sg.embed.parts import Part

Item = TypeVar("Item")

_BATCHES_AHEAD = 3
"""Batches that may wait for the model: one to take next, and some for films that take long to decode."""


def embed_parts(
    parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, embedder: Embedder, bar: Progress
) -> None:
    """Embed the films of `parts` and write each part when its last batch is done.

    While the model is at one batch, the next ones are decoded and put together.
    """
    writer = PartWriter(parts, config.batch_size, folder, bar)
    batches = decoded_batches(parts, film_settings(videos, config), config)
    with contextlib.closing(prefetched(batches, depth=_BATCHES_AHEAD)) as waiting:
        for batch in waiting:
            writer.add(embedded(batch, embedder))


def decoded_batches(
    parts: Sequence[Part], settings: FilmSettings, config: EmbedderConfig
) -> Generator[DecodedBatch, None, None]:
    """The batches of the parts in order, their films decoded by `config.workers` processes."""
    from sg.video.workers import WorkerPool

    jobs = (FilmJob(record, settings) for part in parts for record in part.records)
    with WorkerPool(read_film, config.workers or os.cpu_count() or 1, config.timeout_s) as pool:
        outcomes: Iterator[tuple[FilmJob, object]] = pool.map(jobs)
        for batch in plan_batches(parts, config.batch_size):
            yield decoded(batch, list(islice(outcomes, len(batch.records))))  # type: ignore[arg-type]


def prefetched(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, fetched ahead by a thread, at most `depth` of them; its errors are raised here.

    When the caller stops early, a generator of items is closed by the thread that runs it.
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
        except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
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
