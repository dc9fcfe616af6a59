"""Packing of tasks into the input file of a batch job: until its size, its tokens, the budget or the store is full."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast

from sg.caption.hosted.engine.items import item_of_task
from sg.caption.hosted.engine.media import MediaFile, media_as_json
from sg.caption.hosted.engine.outcomes import Sent, Settled
from sg.caption.hosted.engine.requests import RequestPipeline
from sg.caption.hosted.engine.retries import PROXY
from sg.caption.hosted.engine.run import CLAIMED_AT_ONCE, CaptioningRun
from sg.caption.hosted.engine.uploads import FileStore
from sg.caption.hosted.services.records import BatchService, Failure
from sg.caption.hosted.settings import BatchConfig
from sg.caption.ledger.ledger import Task


@dataclass(frozen=True, slots=True)
class _Line:
    """One task as a line of a job's input file, with the input tokens and the cost to reserve for it."""

    task: Task
    data: bytes
    file: MediaFile
    tokens: int
    worst_usd: float


@dataclass(slots=True)
class Pack:
    """The tasks that are packed into one job: (task key, media file as JSON) each, and their sums."""

    tasks: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    tokens: int = 0
    usd: float = 0.0
    is_full: bool = False


class Packer:
    """Writes the input files of a run's jobs; `watch` is called with every task whose video cannot be sent."""

    def __init__(
        self,
        run: CaptioningRun,
        service: BatchService,
        store: FileStore,
        config: BatchConfig,
        watch: Callable[[Settled, CaptioningRun], None],
    ) -> None:
        self._run, self._service, self._store, self._config, self._watch = run, service, store, config, watch
        self._pipeline: RequestPipeline = run.pipeline

    async def pack(self, path: Path, most: int, free_tokens: int, is_first: bool) -> Pack:
        """Write at most `most` pending tasks into a job's file, until a limit is reached.

        Tasks are claimed in small groups, because their number per job is only known once their files are encoded.
        Claimed tasks that do not fit are released. `is_first`: no other job is unfinished.
        """
        pipeline, packed = self._pipeline, Pack()
        left: list[Task] = []
        with path.open("wb") as stream:
            while len(packed.tasks) < most and not packed.is_full and self._run.end is None:
                wanted = min(most - len(packed.tasks), CLAIMED_AT_ONCE)
                claim = partial(pipeline.ledger.claim, pipeline.recipe.name, time.time(), wanted)
                claimed = await pipeline.journal.write(claim)
                if not claimed:
                    break
                for number, task in enumerate(claimed):
                    line = await self._line(task)
                    if line is None:
                        continue
                    if not await self._fits(line, packed, free_tokens, is_first):
                        packed.is_full, left = True, claimed[number:]
                        break
                    stream.write(line.data)
                    packed.tasks.append((task.task_key, media_as_json(line.file)))
                    packed.size += len(line.data)
                    packed.tokens += line.tokens
                    packed.usd += line.worst_usd
        release = partial(pipeline.ledger.release, pipeline.recipe.name, [task.task_key for task in left])
        await pipeline.journal.write(release)
        return packed

    async def _fits(self, line: _Line, packed: Pack, free_tokens: int, is_first: bool) -> bool:
        """Whether a line fits into the job; its cost is then reserved.

        A first line that exceeds the limits of bytes or tokens is sent alone if no other job is unfinished, since
        waiting would never make room for it. If the store or the budget has no room for it, nothing in flight can make
        room, so the store is looked at again, and the run stops for the budget.
        """
        is_alone = is_first and not packed.tasks
        size = packed.size + len(line.data)
        if size > self._store.room_bytes:
            if is_alone:
                self._store.say_full()
                await self._store.sweep()
            return False
        if (size > self._config.max_bytes or packed.tokens + line.tokens > free_tokens) and not is_alone:
            return False
        if not self._pipeline.budget.reserve(line.worst_usd):
            if is_alone:
                self._run.stop(self._pipeline.budget.exceeded(self._pipeline.recipe.words.result))
            return False
        return True

    async def _line(self, task: Task) -> _Line | None:
        """A task's line of the input file; None if its video cannot be sent, which is recorded as its result."""
        pipeline, tries = self._pipeline, dict(task.tries)
        item = item_of_task(task)
        file = await pipeline.media.prepare(item, force_proxy=bool(tries.get(PROXY)))
        uri = file if isinstance(file, Failure) else await pipeline.located(file)
        if isinstance(file, Failure) or isinstance(uri, Failure):
            failure = file if isinstance(file, Failure) else cast(Failure, uri)
            settled = pipeline.outcomes.settle(Sent(task, item, None, "none", time.time()), failure)
            await pipeline.journal.write(lambda: pipeline.ledger.end_task(task, settled.task))
            self._watch(settled, self._run)
            return None
        expected = pipeline.recipe.expected(item)
        data = self._service.batch_line(task.task_key, pipeline.recipe.request(item, file, uri, tries)) + b"\n"
        await pipeline.media.let_go(file)
        worst = pipeline.forecast.worst_usd(expected, pipeline.recipe.longest(tries))
        return _Line(task, data, replace(file, data=None), pipeline.forecast.tokens(expected), worst)
