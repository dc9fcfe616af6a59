"""Maps over videos: every video is read in a killable process, then one function takes a batch of what was read.

Embedding, visual tokens and captions by a local model put a model into the second step; the scan has no second step.
The map runs in this process or on the nodes of a Ray cluster. Both run the same functions on the same batches, so that
their results are the same bytes.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar

from sg.core.crew.workers import Crew
from sg.core.errors import SgError
from sg.video import workers
from sg.video.workers import LOOKAHEAD

Job = TypeVar("Job")
Read = TypeVar("Read")
Result = TypeVar("Result")
_AT_ONCE = 2
"""Batches that a worker on Ray has at the same time: one is read while the other is finished."""


@dataclass(frozen=True, slots=True)
class VideoMap(Generic[Job, Read, Result]):
    """A map, which can be pickled.

    Attributes:
        read: reads one video, in a killable process.
        finisher: returns the function of the second step, for instance with a loaded model. It takes the batch as
            [(job, what `read` returned, or the SgError that it raised)], and is called by one thread at a time.
        num_workers: processes that read; 0 takes one per CPU, None reads in this process. On Ray, those of each worker.
        timeout_s: seconds after which the reading of a video is given up.
    """

    read: Callable[[Job], Read]
    finisher: Callable[[], Callable[[list[tuple[Job, Read | SgError]]], Result]]
    num_workers: int | None = 0
    timeout_s: float = 300.0

    def over(self, batches: Iterable[Sequence[Job]], engine: str = "local") -> Iterator[Result]:
        """The results of the batches, in their order. An SgError of the second step ends the map."""
        if engine == "local":
            with VideoWorker(self, os.cpu_count() or 1) as worker:
                yield from worker.map(batches)
        else:
            with self.crew() as crew:
                yield from crew.map(batches)

    def crew(self) -> Crew[Sequence[Job], Result]:
        """Workers on Ray that take batches."""
        return Crew(partial(VideoWorker, self, 1), gpus=None, at_once=_AT_ONCE)


class VideoWorker(Generic[Job, Read, Result]):
    """Runs a map in this process. Calls may come from several threads: one batch is read while another is finished."""

    def __init__(self, work: VideoMap[Job, Read, Result], num_cpus: int) -> None:
        self._work, self._finishing = work, threading.Lock()
        num_workers = 0 if work.num_workers is None else work.num_workers or num_cpus
        self._pool = workers.WorkerPool(work.read, num_workers, work.timeout_s)
        self._ahead = LOOKAHEAD * max(1, num_workers)
        self._finish: Callable[[list[tuple[Job, Read | SgError]]], Result] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    def prepare(self) -> None:
        """Make the function of the second step now, so that its errors come before those of videos."""
        with self._finishing:
            self._finish = self._finish or self._work.finisher()

    def __call__(self, batch: Sequence[Job]) -> Result:
        """The result of a batch."""
        return self._finished(self._begun(batch))

    def map(self, batches: Iterable[Sequence[Job]]) -> Iterator[Result]:
        """The results of the batches, in their order; the next batches are read while one is finished."""
        waiting: deque[list[tuple[Job, Future[Read | SgError]]]] = deque()
        num_jobs = 0
        for batch in batches:
            waiting.append(self._begun(batch))
            num_jobs += len(batch)
            while len(waiting) > 1 and num_jobs > self._ahead:
                num_jobs -= len(waiting[0])
                yield self._finished(waiting.popleft())
        while waiting:
            yield self._finished(waiting.popleft())

    def _begun(self, batch: Sequence[Job]) -> list[tuple[Job, Future[Read | SgError]]]:
        return [(job, self._pool.submit(job)) for job in batch]

    def _finished(self, begun: Sequence[tuple[Job, Future[Read | SgError]]]) -> Result:
        outcomes = [(job, future.result()) for job, future in begun]
        with self._finishing:
            self._finish = self._finish or self._work.finisher()
            return self._finish(outcomes)
