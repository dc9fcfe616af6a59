"""The run: as many requests in flight as the service bears, until every clip has ended or a limit is reached."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sg.caption.hosted.engine.limits import (
    BudgetReachedError,
    CanaryError,
    CanaryReport,
    ModelDriftError,
    QuotaExhaustedError,
    ServiceRefusedError,
)
from sg.caption.hosted.engine.outcomes import Settled
from sg.caption.hosted.engine.pacing import Concurrency
from sg.caption.hosted.engine.requests import Desk, NotToday, OutOfBudget
from sg.caption.hosted.services.records import Kind
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import PENDING, SUCCEEDED, Task
from sg.core.errors import SgError

_CLAIMED = 256
_GROANS = (Kind.QUOTA, Kind.TRANSIENT)


@dataclass(slots=True)
class Counts:
    """What a run did so far."""

    captions: int = 0
    ended_without: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: dict[str, int] = field(default_factory=dict)


class Run:
    """One process's work on a ledger; `watch` is called with every settled request."""

    def __init__(self, desk: Desk, watch: Callable[[Settled, Run], None]) -> None:
        self.desk, self.counts, self._watch = desk, Counts(), watch
        config = desk.recipe.config
        self.concurrency = Concurrency(config.min_concurrency, config.max_concurrency)
        self.end: SgError | KeyboardInterrupt | None = None
        self._queue: deque[Task] = deque()
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._bugs = 0
        self._told_day = 0.0

    async def go(self) -> None:
        """Work until nothing is left or something ends the run; then what is in flight comes home.

        Raises:
            SgError: what ended the run before its end.
            KeyboardInterrupt: the user did.
        """
        with self._signals():
            try:
                await self._canary()
                await self._until_done(None)
            finally:
                await self._drain()
        if self.end is not None:
            raise self.end

    def stop(self, reason: SgError | KeyboardInterrupt) -> None:
        """Send nothing more, and let go of clips that only wait for their turn; the first reason counts."""
        self.end = self.end or reason
        for handle, key in self._tasks.items():
            if key not in self.desk.sending and handle is not asyncio.current_task():
                handle.cancel()

    async def _until_done(self, limit: int | None) -> None:
        """Ask for clips, at most `limit` different ones, until none is pending."""
        begun = 0
        while self.end is None and (limit is None or begun < limit):
            await self.concurrency.enter()
            task = None if self.end else await self._next()
            if task is None:
                self.concurrency.in_flight -= 1
                return
            begun += 1
            handle = asyncio.create_task(self._one(task))
            self._tasks[handle] = task.task_key
            handle.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _next(self) -> Task | None:
        """The next clip, waiting for one whose time has not come; None when all are done or the run ends."""
        desk, name = self.desk, self.desk.recipe.name
        while self.end is None:
            await self._mind_the_day()
            if self._queue:
                return self._queue.popleft()
            self._queue.extend(await desk.journal.write(lambda: desk.ledger.claim(name, time.time(), _CLAIMED)))
            if self._queue:
                continue
            due = await desk.journal.write(lambda: desk.ledger.next_due(name))
            if due is None and not self._tasks:
                return None
            pause = 0.05 if due is None else min(max(due - time.time(), 0.005), 1.0)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause)
        return None

    async def _one(self, task: Task) -> None:
        good, groaned, took = False, False, 0.0
        try:
            settled, took = await self.desk.caption(task)
            good, groaned = settled.kind is None, settled.kind in _GROANS
            self._react(settled)
        except NotToday:
            await self.desk.journal.write(lambda: self.desk.ledger.release(self.desk.recipe.name, [task.task_key]))
        except OutOfBudget:
            purse = self.desk.purse
            self.stop(
                BudgetReachedError(
                    f"The budget of ${purse.budget_usd:.2f} is reached: ${purse.spent_usd:.4f} are spent, and one more "
                    "request could pass it. Captions so far are kept; go on with a larger captioner.budget_usd."
                )
            )
        except Exception as error:  # noqa: BLE001 - a bug of ours must end the run, not vanish in a task
            self.stop(SgError(f"captioning of {task.video_id} failed: {type(error).__name__}: {error}"[:500]))
        finally:
            await self.concurrency.leave(good=good, groaned=groaned, took_s=took)

    def _react(self, settled: Settled) -> None:
        counts, decision = self.counts, settled.decision
        counts.requests += settled.attempt.http_code != 0
        counts.input_tokens += settled.attempt.usage.input
        counts.output_tokens += settled.attempt.usage.output + settled.attempt.usage.thinking
        if settled.kind is not None:
            counts.errors[settled.kind.value] = counts.errors.get(settled.kind.value, 0) + 1
        counts.captions += decision.state == SUCCEEDED
        counts.ended_without += decision.state not in (SUCCEEDED, PENDING)
        pause = self.desk.breaker.note(
            settled.kind is not Kind.TRANSIENT or settled.attempt.http_code not in range(500, 600)
        )
        if pause:
            self.desk.say(
                f"more than half of the last 50 answers were errors of the service: pausing for {pause:.0f} s"
            )
        if decision.pause_s:
            self.desk.pacer.pause(decision.pause_s)
        if decision.suspend:
            self.desk.day.suspend()
        if decision.stop:
            self.stop(_refusal(settled))
        if settled.kind is Kind.BUG:
            self._bugs += 1
            if self._bugs >= self.desk.recipe.config.retry.max_unknown_errors:
                self.stop(SgError(f"{self._bugs} errors of a kind that is not known, the last one: {settled.message}"))
        if settled.drifted_to:
            self._drift(settled.drifted_to)
        self._watch(settled, self)

    def _drift(self, answered: str) -> None:
        config = self.desk.recipe.config
        sentence = (
            f"{answered} answered instead of {config.model.name}: the provider has retired or moved the model, and "
            "charges the other one's prices. Choose a model with captioner/model=NAME, or allow it with "
            "captioner.on_model_drift=warn."
        )
        if config.on_model_drift == "stop":
            self.stop(ModelDriftError(sentence))
        elif config.on_model_drift == "warn" and not self.counts.errors.get("drift"):
            self.counts.errors["drift"] = 1
            self.desk.say(f"warning: {sentence}")

    async def _mind_the_day(self) -> None:
        """Wait out the provider's day when its quota is used up, or end the run, as configured."""
        while (free := self.desk.day.free_at()) > 0 and self.end is None:
            until = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(free))
            if self.desk.recipe.config.quota.on_daily_quota == "stop":
                self.stop(QuotaExhaustedError(f"The day's quota is used up until {until}: run the same command then."))
                return
            if free != self._told_day:
                self._told_day = free
                self.desk.say(f"the day's quota is used up: waiting until {until} (midnight US Pacific)")
            await asyncio.sleep(min(max(free - time.time(), 0.01), 5.0))

    async def _canary(self) -> None:
        """Caption the first clips alone and compare them with the estimate before all others follow."""
        desk, wanted = self.desk, self.desk.recipe.config.canary
        if not wanted or desk.num_clips <= wanted:
            return
        name = desk.recipe.name
        while self.end is None:
            first = await desk.journal.write(lambda: list(reading.first_results(desk.ledger.connection, name, wanted)))
            pending = await desk.journal.write(lambda: desk.ledger.next_due(name))
            if len(first) >= wanted or (pending is None and not self._queue):
                break
            await self._until_done(wanted - len(first))
            while self._tasks:
                await asyncio.wait(self._tasks)
        if self.end is None and first and (complaint := canary_report(desk, first).complaint()):
            self.stop(CanaryError(f"Canary: {complaint}"))

    async def _drain(self) -> None:
        """Let what is in flight end, and give back what was claimed."""
        self._queue.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.desk.journal.write(lambda: self.desk.ledger.release(self.desk.recipe.name))

    def interrupt(self) -> None:
        """First time: finish what is in flight. Second time: leave it."""
        if isinstance(self.end, KeyboardInterrupt):
            for task in self._tasks:
                task.cancel()
        else:
            self.desk.say(f"stopping: {len(self.desk.sending)} requests in flight are waited for (again to leave them)")
            self.stop(KeyboardInterrupt())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        try:
            for number in numbers:
                loop.add_signal_handler(number, self.interrupt)
        except (RuntimeError, ValueError):  # not in the main thread: signals are somebody else's
            yield
            return
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def canary_report(desk: Desk, first: list[reading.Recorded]) -> CanaryReport:
    """What the first clips cost, beside what was estimated for the same clips."""
    recipe, good = desk.recipe, [row for row in first if row.status == SUCCEEDED]
    used = [row.record for row in good]
    count = max(len(good), 1)
    usage = [(row["tokens"]["input"], row["tokens"]["output"] + row["tokens"]["thinking"]) for row in used]
    estimated = desk.forecast.estimated_usd(
        [float(row["duration_s"]) for row in used], recipe.config, [row["has_audio"] for row in used]
    )
    return CanaryReport(
        clips=len(first),
        mean_usd=sum(float(row["cost_usd"]) for row in used) / count,
        estimated_usd=estimated / count,
        mean_input=sum(tokens for tokens, _ in usage) / count,
        mean_output=sum(tokens for _, tokens in usage) / count,
        rejected=1 - len(good) / len(first),
    )


def _refusal(settled: Settled) -> SgError:
    if settled.kind is Kind.TIER_CAP:
        return QuotaExhaustedError(
            f"The provider's spending cap is reached ({settled.message}): raise it there, then go on."
        )
    return ServiceRefusedError(
        f"The service refuses the requests ({settled.message}): check the key, the project, captioner.model.name and "
        "captioner.generation; nothing is lost, the same command goes on."
    )
