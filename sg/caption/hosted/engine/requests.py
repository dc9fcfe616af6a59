"""The pipeline of one request: budget, circuit breaker, pace, daily quota, ledger, service, and the ledger again."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

from sg.caption.hosted.engine.addresses import CLOUD_STORAGE
from sg.caption.hosted.engine.items import CaptionItem, item_of_task
from sg.caption.hosted.engine.limits import Budget, DailyQuota
from sg.caption.hosted.engine.media import MediaFile
from sg.caption.hosted.engine.outcomes import Outcomes, Sent, Settled
from sg.caption.hosted.engine.pacing import CircuitBreaker, Pacer
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.engine.retries import PROXY
from sg.caption.hosted.engine.uploads import FileStore
from sg.caption.hosted.pricing import Forecast
from sg.caption.hosted.services.failures import UNREACHABLE
from sg.caption.hosted.services.records import Answer, Failure, FileService, Kind, Request, Service
from sg.caption.ledger.journal import LedgerJournal
from sg.caption.ledger.ledger import Ledger, Task


class OutOfBudget(Exception):
    """The request did not leave: it could exceed the budget."""


class NotToday(Exception):
    """The request did not leave: the daily quota is used up."""


class SentMedia(Protocol):
    """Prepares what is sent with an item."""

    async def prepare(self, item: CaptionItem, *, force_proxy: bool = False) -> MediaFile | Failure:
        """What is sent: ready, or the reason why not. Call `let_go` when it is sent."""

    async def let_go(self, file: MediaFile) -> None:
        """Free what is held for it."""


@dataclass(slots=True)
class RequestPipeline:
    """Everything that a request needs, shared by all requests of a run.

    Attributes:
        num_videos: the number of tasks of the recipe.
        store: the service's file store; None for services without one.
        say: prints a line for the user.
        sending: task keys of requests that have left, or are about to: the end of a run waits for these.
    """

    recipe: Recipe
    num_videos: int
    ledger: Ledger
    journal: LedgerJournal
    service: Service
    media: SentMedia
    store: FileStore | None
    pacer: Pacer
    breaker: CircuitBreaker
    budget: Budget
    day: DailyQuota
    outcomes: Outcomes
    forecast: Forecast
    say: Callable[[str], None]
    sending: set[str] = field(default_factory=set)

    async def caption(self, task: Task) -> tuple[Settled, float]:
        """Ask once for the caption of a video and record the outcome; also returns the service's time in seconds.

        Raises:
            OutOfBudget, NotToday: the request did not leave; nothing is recorded.
        """
        item = item_of_task(task)
        file = await self.media.prepare(item, force_proxy=bool(task.tries.get(PROXY)))
        if isinstance(file, Failure):
            sent = Sent(task, item, None, "none", time.time())
            return await self._record(None, sent, file), 0.0
        try:
            if file.data is not None:
                return await self._ask(task, item, file, "", "inline")
            if file.uri:
                return await self._ask_about_address(task, item, file)
            return await self._ask_about_upload(task, item, file)
        finally:
            await self.media.let_go(file)

    async def located(self, file: MediaFile) -> str | Failure:
        """The uri that a request has for a file that the service reads itself; Cloud Storage objects are registered."""
        if not file.uri.startswith(CLOUD_STORAGE):
            return file.uri
        stored = await cast(FileService, self.service).register(file.uri)
        return stored if isinstance(stored, Failure) else stored.uri

    async def _ask_about_address(self, task: Task, item: CaptionItem, file: MediaFile) -> tuple[Settled, float]:
        uri = await self.located(file)
        if isinstance(uri, Failure):
            return await self._record(None, Sent(task, item, file, "url", time.time()), uri), 0.0
        return await self._ask(task, item, file, uri, "url")

    async def _ask_about_upload(self, task: Task, item: CaptionItem, file: MediaFile) -> tuple[Settled, float]:
        assert self.store is not None
        stored = await self.store.use(file.path, file.media_sha256, file.size, file.mime_type)
        if isinstance(stored, Failure):
            await self.store.done_with(file.media_sha256)
            if stored.kind is Kind.STORAGE:
                self.say("the service's file store is full: deleting our unused files there, then continuing")
                await self.store.sweep()
            sent = Sent(task, item, file, "upload", time.time())
            return await self._record(None, sent, stored), 0.0
        lost = False
        try:
            settled, took = await self._ask(task, item, file, stored.uri, "upload")
            lost = settled.kind is Kind.LOST_FILE
            return settled, took
        finally:
            # Also when the request was cancelled: the last user of a file deletes it from the store.
            await self.store.done_with(file.media_sha256, lost=lost)

    async def _ask(
        self, task: Task, item: CaptionItem, file: MediaFile, uri: str, transport: str
    ) -> tuple[Settled, float]:
        expected = self.recipe.expected(item)
        request = self.recipe.request(item, file, uri, dict(task.tries))
        worst = self.forecast.worst_usd(expected, self.recipe.longest(dict(task.tries)))
        if not await self.budget.reserve_when_free(worst):
            raise OutOfBudget
        cost = 0.0
        try:
            await self.breaker.enter()
            tokens, likely = self.forecast.tokens(expected), self.forecast.likely_usd(expected)
            place = await self.pacer.leave(tokens, likely)
            # Asked again after the wait: other requests may have used up the day in the meantime.
            if self.day.free_at() > 0:
                raise NotToday
            self.day.count()
            self.sending.add(task.task_key)
            # Committed before the request leaves. Until it is settled it counts at its maximum cost, also for the
            # process that follows a kill.
            attempt = await self.journal.write(lambda: self.ledger.begin_attempt(task, transport, tokens, worst))
            cost = worst
            sent = Sent(task, item, file, transport, time.time())
            started = time.monotonic()
            outcome = await self._generate(request)
            took = time.monotonic() - started
            if isinstance(outcome, Answer):
                outcome = self.recipe.believed(outcome, item, dict(task.tries))
            settled = await self._record(attempt, sent, outcome, likely if _may_be_billed(outcome) else None)
            cost = settled.attempt.cost_usd
            place.settle(outcome.usage.input or tokens if isinstance(outcome, Answer) else tokens, cost)
            if isinstance(outcome, Answer) and outcome.is_counted:
                self.forecast.learn(expected, outcome.usage)
            return settled, took
        finally:
            self.sending.discard(task.task_key)
            self.budget.settle(worst, cost)

    async def _generate(self, request: Request) -> Answer | Failure:
        """The service's answer within the deadline.

        A time-out of the client restarts with every byte, so a server that sends one byte now and then would hold a
        request forever; this deadline covers the whole request.
        """
        deadline = self.recipe.config.deadline_s
        try:
            async with asyncio.timeout(deadline):
                return await self.service.generate(request)
        except TimeoutError:
            return Failure(Kind.TRANSIENT, f"no complete answer within {deadline:g} s", 0, "TIMEOUT")

    async def _record(
        self, attempt: int | None, sent: Sent, outcome: Answer | Failure, charged_usd: float | None = None
    ) -> Settled:
        """Settle an outcome, and commit attempt, state, result and cost in one transaction.

        `charged_usd` is the assumed cost of a request whose connection broke.
        """

        def write(settled: Settled) -> None:
            if attempt is not None:
                self.ledger.end_attempt(attempt, settled.attempt)
            self.ledger.end_task(sent.task, settled.task)

        settled = self.outcomes.settle(sent, outcome)
        if charged_usd is not None:
            settled = replace(settled, attempt=replace(settled.attempt, cost_usd=charged_usd))
        return await self.commit(sent, outcome, settled, write)

    async def commit(
        self, sent: Sent, outcome: Answer | Failure, settled: Settled, write: Callable[[Settled], None]
    ) -> Settled:
        """Write an outcome; an answer that the ledger cannot hold is written as an unusable one. Returns what it wrote.

        Raises:
            sqlite3.OperationalError: the disk is full, or the ledger cannot be written at all.
        """
        try:
            await self.journal.write(lambda: write(settled))
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            if isinstance(outcome, Failure):
                raise
            settled = self.outcomes.unusable(sent, outcome, error)
            await self.journal.write(lambda: write(settled))
        return settled


def _may_be_billed(outcome: Answer | Failure) -> bool:
    """Whether a request without a usable answer may have been billed: its connection broke, or its status was good."""
    if isinstance(outcome, Answer) or outcome.kind is Kind.CONFIG or outcome.status == UNREACHABLE:
        return False
    return outcome.code < 300
