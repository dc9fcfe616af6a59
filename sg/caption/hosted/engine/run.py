"""A run: as many requests in flight as the service allows, until every video has a result or a limit is reached."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sg.caption.hosted.engine.canary import Canary
from sg.caption.hosted.engine.limits import (
    ModelDriftError,
    ServiceRefusedError,
    ServiceUnavailableError,
    daily_quota_used,
    refusal,
)
from sg.caption.hosted.engine.outcomes import Settled
from sg.caption.hosted.engine.pacing import Concurrency
from sg.caption.hosted.engine.requests import NotToday, OutOfBudget, RequestPipeline
from sg.caption.hosted.services.records import Kind
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import DEFERRED, PENDING, SUCCEEDED, Task
from sg.core.errors import SgError, Terminated

CLAIMED_AT_ONCE = 256
_OVERLOAD = (Kind.QUOTA, Kind.TRANSIENT)
_REFUSED = (Kind.UNCLEAR, Kind.MEDIA)
_MAX_REFUSED = 10


@dataclass(slots=True)
class Counts:
    """What a run has done so far."""

    captions: int = 0
    ended_without: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: dict[str, int] = field(default_factory=dict)


class CaptioningRun:
    """The work of one process on a ledger; `watch` is called with every settled request.

    `end` is the reason for which the run stops before its end. It is set once, by `stop`, and raised by `go` after all
    requests in flight have ended.
    """

    def __init__(self, pipeline: RequestPipeline, watch: Callable[[Settled, CaptioningRun], None]) -> None:
        self.pipeline, self.counts, self._watch = pipeline, Counts(), watch
        config = pipeline.recipe.config
        self.concurrency = Concurrency(config.min_concurrency, config.max_concurrency)
        self.canary = Canary(pipeline)
        self.end: SgError | KeyboardInterrupt | None = None
        self._queue: deque[Task] = deque()
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._bugs = 0
        self._refused: int | None = 0
        """Requests that the service refused before its first answer; None after an answer."""
        self._announced_day = 0.0

    async def go(self) -> None:
        """Work until no task is pending or the run is stopped, then wait for all requests in flight.

        Raises:
            SgError: the reason why the run stopped before its end.
            KeyboardInterrupt: the user stopped it.
        """
        with self._signals():
            try:
                await self._run_canary()
                await self._until_done(None)
            finally:
                await self._drain()
        await self._raise_end()

    async def _raise_end(self) -> None:
        """Raise what ended the run, or that the service has failed for some videos."""
        ledger, recipe = self.pipeline.ledger, self.pipeline.recipe
        name, words = recipe.name, recipe.words
        if self.end is not None:
            raise self.end
        counts = await self.pipeline.journal.write(lambda: reading.states(ledger.connection, name))
        if count := counts.get(DEFERRED, 0):
            error = await self.pipeline.journal.write(lambda: reading.last_error(ledger.connection, name, DEFERRED))
            raise ServiceUnavailableError(
                f"{count:,} of {sum(counts.values()):,} {words.items} have no {words.result} yet because of an error "
                f"of the service ({error}): run the same command later, it asks for these again."
            )

    def stop(self, reason: SgError | KeyboardInterrupt) -> None:
        """Send nothing more, and cancel requests that have not left; the first reason counts."""
        self.end = self.end or reason
        for handle, key in self._tasks.items():
            if key not in self.pipeline.sending and handle is not asyncio.current_task():
                handle.cancel()

    async def _until_done(self, limit: int | None) -> None:
        """Send requests for at most `limit` tasks, until none is pending."""
        started = 0
        while self.end is None and (limit is None or started < limit):
            await self.concurrency.enter()
            # `stop` may have been called during the wait.
            task = None if self.end else await self._next()
            if task is None:
                self.concurrency.in_flight -= 1
                return
            started += 1
            handle = asyncio.create_task(self._one(task))
            self._tasks[handle] = task.task_key
            handle.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _next(self) -> Task | None:
        """The next task, after waiting for one that is not due; None if all have ended or the run stops."""
        pipeline, name = self.pipeline, self.pipeline.recipe.name
        while self.end is None:
            await self._wait_for_day()
            if self._queue:
                return self._queue.popleft()
            claim = await pipeline.journal.write(lambda: pipeline.ledger.claim(name, time.time(), CLAIMED_AT_ONCE))
            self._queue.extend(claim)
            if self._queue:
                continue
            due = await pipeline.journal.write(lambda: pipeline.ledger.next_due(name))
            if due is None and not self._tasks:
                return None
            # With requests in flight a task may become due earlier than `due`: a failed one goes back to pending.
            pause = 0.05 if due is None else min(max(due - time.time(), 0.005), 1.0)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause)
        return None

    async def _one(self, task: Task) -> None:
        good, overloaded, took = False, False, 0.0
        try:
            settled, took = await self.pipeline.caption(task)
            good, overloaded = settled.kind is None, settled.kind in _OVERLOAD
            self._react(settled)
        except NotToday:
            ledger, name = self.pipeline.ledger, self.pipeline.recipe.name
            await self.pipeline.journal.write(lambda: ledger.release(name, [task.task_key]))
        except OutOfBudget:
            self.stop(self.pipeline.budget.exceeded(self.pipeline.recipe.words.result))
        except Exception as error:  # noqa: BLE001 - a bug of ours must end the run; asyncio would only log it
            self.stop(SgError(f"the request for {task.video_id} failed: {type(error).__name__}: {error}"[:500]))
        finally:
            await self.concurrency.leave(good=good, overloaded=overloaded, took_s=took)

    def _react(self, settled: Settled) -> None:
        """Count an outcome, and adapt the run to it."""
        self._count(settled)
        decision, pipeline = settled.decision, self.pipeline
        is_server_error = settled.kind is Kind.TRANSIENT and settled.attempt.http_code in range(500, 600)
        if pause := pipeline.breaker.note(not is_server_error):
            pipeline.say(f"more than half of the last 50 answers were errors of the service: pausing for {pause:.0f} s")
        if decision.pause_s:
            pipeline.pacer.pause(decision.pause_s)
        if decision.suspend:
            pipeline.day.suspend()
        if decision.stop:
            self.stop(refusal(settled.kind or Kind.CONFIG, settled.message))
        self._note_refused(settled)
        if settled.kind is Kind.BUG:
            self._bugs += 1
            if self._bugs >= pipeline.recipe.config.retry.max_unknown_errors:
                self.stop(SgError(f"{self._bugs} errors of no known kind, the last one: {settled.message}"))
        if settled.drifted_to:
            self._drift(settled.drifted_to)
        self._watch(settled, self)

    def _note_refused(self, settled: Settled) -> None:
        """Stop if the service refuses every video from the first one on: then the reason is hardly in the videos.

        A refused request costs nothing, and its video has failed with its reason. So one bad video holds up no other
        one, in this run or the next.
        """
        if settled.attempt.http_code == 200:
            self._refused = None
        elif self._refused is not None and settled.kind in _REFUSED and settled.attempt.http_code:
            self._refused += 1
            if self._refused >= _MAX_REFUSED:
                items = self.pipeline.recipe.words.items
                self.stop(
                    ServiceRefusedError(
                        f"The service refuses all of the first {self._refused} requests ({settled.message}): check "
                        "captioner.model.name and captioner.generation; captioner.retry_states=[failed_permanent] "
                        f"asks for these {items} again, and the same command continues with the others."
                    )
                )

    def _count(self, settled: Settled) -> None:
        counts, state, usage = self.counts, settled.decision.state, settled.attempt.usage
        counts.requests += settled.attempt.http_code != 0
        counts.input_tokens += usage.input
        counts.output_tokens += usage.output + usage.thinking
        if settled.kind is not None:
            counts.errors[settled.kind.value] = counts.errors.get(settled.kind.value, 0) + 1
        counts.captions += state == SUCCEEDED
        counts.ended_without += state not in (SUCCEEDED, PENDING, DEFERRED)

    def _drift(self, answered: str) -> None:
        config = self.pipeline.recipe.config
        sentence = (
            f"{answered} answered instead of {config.model.name}: the provider has retired or moved the model, and "
            "charges the prices of the other one. Choose a model with captioner/model=NAME, or allow this with "
            "captioner.on_model_drift=warn."
        )
        if config.on_model_drift == "stop":
            self.stop(ModelDriftError(sentence))
        elif config.on_model_drift == "warn" and not self.counts.errors.get("drift"):
            self.counts.errors["drift"] = 1
            self.pipeline.say(f"warning: {sentence}")

    async def _wait_for_day(self) -> None:
        """While the daily quota is used up: wait for the provider's next day, or end the run, as configured."""
        pipeline = self.pipeline
        while (free := pipeline.day.free_at()) > 0 and self.end is None:
            if pipeline.recipe.config.quota.on_daily_quota == "stop":
                self.stop(daily_quota_used(free))
                return
            if free != self._announced_day:
                self._announced_day = free
                until = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(free))
                pipeline.say(f"the daily quota is used up: waiting until {until} (midnight US Pacific)")
            await asyncio.sleep(min(max(free - time.time(), 0.01), 5.0))

    async def _run_canary(self) -> None:
        """Caption the first videos alone, and stop if they differ from the estimate."""
        ledger, name = self.pipeline.ledger, self.pipeline.recipe.name
        while self.end is None and (missing := await self.canary.missing()) > 0:
            pending = await self.pipeline.journal.write(lambda: ledger.next_due(name))
            if pending is None and not self._queue:
                break
            await self._until_done(missing)
            while self._tasks:
                await asyncio.wait(self._tasks)
        if self.end is None and (error := await self.canary.error()) is not None:
            self.stop(error)

    async def _drain(self) -> None:
        """Wait for all requests in flight, and release the tasks that were claimed."""
        self._queue.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.pipeline.journal.write(lambda: self.pipeline.ledger.release(self.pipeline.recipe.name))

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """First time: finish the requests in flight. Second time: cancel them. `number` is that of the signal."""
        if isinstance(self.end, KeyboardInterrupt):
            for task in self._tasks:
                task.cancel()
        else:
            count = len(self.pipeline.sending)
            self.pipeline.say(f"stopping after the {count} requests in flight (interrupt again to cancel them)")
            self.stop(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Route SIGINT and SIGTERM to `interrupt`, where this is the main thread."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}
        try:
            for number in numbers:
                loop.add_signal_handler(number, self.interrupt, number)
        except (RuntimeError, ValueError):  # not the main thread: signals belong to somebody else
            yield
            return
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])
