"""One request at a time through every gate it has to pass: money, day, breaker, pace, ledger, service, ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sg.caption.hosted.engine.clips import Clip, clip_of_task
from sg.caption.hosted.engine.limits import DailyQuota, Purse
from sg.caption.hosted.engine.media import Film, Films
from sg.caption.hosted.engine.outcomes import Outcomes, Sent, Settled
from sg.caption.hosted.engine.pacing import Breaker, Pacer
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.engine.retries import PROXY
from sg.caption.hosted.engine.uploads import FileStore
from sg.caption.hosted.pricing import Forecast
from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, Service
from sg.caption.ledger.journal import Journal
from sg.caption.ledger.ledger import Ledger, Task


class OutOfBudget(Exception):
    """The next request could pass the budget."""


class NotToday(Exception):
    """The day's quota was used up before this request left."""


@dataclass(slots=True)
class Desk:
    """Everything one request needs."""

    recipe: Recipe
    num_clips: int
    ledger: Ledger
    journal: Journal
    service: Service
    films: Films
    store: FileStore | None
    pacer: Pacer
    breaker: Breaker
    purse: Purse
    day: DailyQuota
    outcomes: Outcomes
    forecast: Forecast
    say: Callable[[str], None]
    sending: set[str] = field(default_factory=set)
    """Clips whose request has left or is about to: these are waited for when a run ends."""

    async def caption(self, task: Task) -> tuple[Settled, float]:
        """Ask for a clip's caption once and record what came of it; gives the seconds that the service took.

        Raises:
            OutOfBudget, NotToday: the request did not leave.
        """
        clip = clip_of_task(task)
        film = await self.films.prepare(clip, force_proxy=bool(task.tries.get(PROXY)))
        if isinstance(film, Failure):
            sent = Sent(task, clip, None, "none", time.time())
            return await self._record(None, sent, film), 0.0
        uri, transport = "", "inline"
        if film.data is None:
            assert self.store is not None
            transport = "upload"
            stored = await self.store.use(film.path, film.media_sha256, film.size, film.mime_type)
            if isinstance(stored, Failure):
                await self.store.done_with(film.media_sha256)
                sent = Sent(task, clip, film, transport, time.time())
                if stored.kind is Kind.STORAGE:
                    self.say("the service's file store is full: deleting our unused files there, then going on")
                    await self.store.sweep()
                return await self._record(None, sent, stored), 0.0
            uri = stored.uri
        lost = False
        try:
            settled, took = await self._ask(task, clip, film, uri, transport)
            lost = settled.kind is Kind.LOST_FILE
            return settled, took
        finally:
            if self.store is not None and transport == "upload":
                await self.store.done_with(film.media_sha256, lost=lost)

    async def _ask(self, task: Task, clip: Clip, film: Film, uri: str, transport: str) -> tuple[Settled, float]:
        expected = self.recipe.expected_tokens(clip)
        request = self.recipe.request(clip, film, uri, dict(task.tries))
        worst = self.forecast.worst_usd(expected, self.recipe.longest(dict(task.tries)))
        if not await self.purse.set_aside(worst):
            raise OutOfBudget
        cost = 0.0
        try:
            await self.breaker.enter()
            tokens, likely = self.forecast.tokens(expected), self.forecast.likely_usd(expected)
            place = await self.pacer.leave(tokens, likely)
            if self.day.free_at() > 0:
                raise NotToday
            self.day.count()
            self.sending.add(task.task_key)
            # Until it is settled the request counts at its worst, also for a process that follows a kill.
            attempt = await self.journal.write(lambda: self.ledger.begin_attempt(task, transport, tokens, worst))
            cost = worst
            sent = Sent(task, clip, film, transport, time.time())
            began = time.monotonic()
            outcome = await self._generate(request)
            took = time.monotonic() - began
            unclear = isinstance(outcome, Failure) and outcome.kind is Kind.TRANSIENT and outcome.code == 0
            settled = await self._record(attempt, sent, outcome, likely if unclear else None)
            cost = settled.attempt.cost_usd
            place.settle(outcome.usage.input or tokens if isinstance(outcome, Answer) else tokens, cost)
            if isinstance(outcome, Answer):
                self.forecast.learn(expected, outcome.usage)
            return settled, took
        finally:
            self.sending.discard(task.task_key)
            self.purse.settle(worst, cost)

    async def _generate(self, request: Request) -> Answer | Failure:
        """The service's answer within the deadline: a server may send a byte now and then for ever."""
        deadline = self.recipe.config.retry.deadline_s
        try:
            async with asyncio.timeout(deadline):
                return await self.service.generate(request)
        except TimeoutError:
            return Failure(Kind.TRANSIENT, f"no complete answer within {deadline:g} s", 0, "TIMEOUT")

    async def _record(
        self, attempt: int | None, sent: Sent, outcome: Answer | Failure, charged_usd: float | None = None
    ) -> Settled:
        """Settle an outcome and commit attempt, state, result and money together.

        `charged_usd`: a connection that broke may have been paid for, so it counts as money.
        """
        settled = self.outcomes.settle(sent, outcome)
        if charged_usd is not None:
            settled = replace(settled, attempt=replace(settled.attempt, cost_usd=charged_usd))

        def write() -> None:
            if attempt is not None:
                self.ledger.end_attempt(attempt, settled.attempt)
            self.ledger.end_task(sent.task, settled.task)

        await self.journal.write(write)
        return settled
