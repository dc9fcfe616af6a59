"""Batch waves: clips packed into jobs at half the price, submitted once, watched, and read back into the ledger.

A job's name is our own and is in the ledger before the job exists; after a crash between its creation and its
recording the service's list is searched for that name, and only a job that is not there is submitted again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sg.caption.hosted.engine.clips import clip_of_task
from sg.caption.hosted.engine.limits import BudgetReachedError, CanaryError, ServiceRefusedError
from sg.caption.hosted.engine.media import Film
from sg.caption.hosted.engine.outcomes import Sent, Settled
from sg.caption.hosted.engine.requests import Desk
from sg.caption.hosted.engine.retries import PROXY
from sg.caption.hosted.engine.run import Run, canary_report
from sg.caption.hosted.services.records import BatchJob, BatchService, Failure, Kind
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import Task
from sg.core.errors import SgError

log = logging.getLogger(__name__)
_DONE = ("SUCCEEDED", "EXPIRED", "CANCELLED", "FAILED", "PARTIALLY_SUCCEEDED")
_MAX_BARREN = 3


@dataclass(frozen=True, slots=True)
class Wave:
    """One job as the ledger has it."""

    display_name: str
    job_name: str | None
    input_file: str | None
    created: float
    tokens: int
    reserved_usd: float


class BatchRun(Run):
    """A run whose requests go out in jobs. What a job leaves over goes into the next."""

    def __init__(self, desk: Desk, watch: Callable[[Settled, Run], None]) -> None:
        super().__init__(desk, watch)
        assert desk.store is not None
        self._store = desk.store
        self._service: BatchService = desk.service  # type: ignore[assignment]  # captioner=gemini_batch builds no other
        self._config = desk.recipe.config.batch
        self._folder = desk.ledger.path.parent / "batches"
        self._barren = 0
        self._folder.mkdir(exist_ok=True)
        for stale in self._folder.iterdir():
            stale.unlink()

    async def go(self) -> None:
        """Adopt the jobs of an earlier run, then submit, watch and read jobs until no clip is left."""
        with self._signals():
            pause = self._config.poll_s
            await self._recover()
            for wave in await self._waves():
                self.desk.purse.reserved_usd += wave.reserved_usd
            while self.end is None:
                if await self._submit_waves() or await self._read_finished():
                    pause = self._config.poll_s
                    continue
                if not await self._waves() and await self._nothing_left():
                    break
                await self._sleep(pause)
                pause = min(pause * 1.3, self._config.max_poll_s)
        if self.end is not None:
            raise self.end

    async def _recover(self) -> None:
        """Match jobs that were being created when a run died with the service's list; others go back to pending."""
        unsure = [wave for wave in await self._waves() if wave.job_name is None]
        if not unsure:
            return
        listed = await self._service.list_batches()
        if isinstance(listed, Failure):
            raise ServiceRefusedError(f"The service's batch jobs cannot be listed ({listed.sentence()}): try again.")
        known = {job.display_name: job for job in listed}
        for wave in unsure:
            if (job := known.get(wave.display_name)) is not None:
                log.info("batch job %s was submitted before the last run ended: adopted", job.name)
                await self._write_job(wave.display_name, job.name)
            else:
                await self._close_wave(wave, "never submitted")

    async def _submit_waves(self) -> int:
        """Submit as many jobs as clips, allowances and budget let; gives their number."""
        count = 0
        while self.end is None and not await self._canary_is_out():
            waves = await self._waves()
            free_tokens = self._config.enqueued_tokens - sum(wave.tokens for wave in waves)
            if len(waves) >= self._config.max_jobs or not await self._submit(free_tokens, first=not waves):
                return count
            count += 1
        return count

    async def _submit(self, free_tokens: int, *, first: bool) -> bool:
        """Pack one job and submit it; False when nothing fits or nothing is left."""
        name = uuid.uuid4().hex
        path = self._folder / f"{name}.jsonl"
        packed = await self._pack(path, free_tokens, first)
        if packed is None:
            path.unlink(missing_ok=True)
            return False
        tasks, tokens, usd = packed
        file_name = f"sg-{name}"

        def note() -> None:
            db = self.desk.ledger.connection
            values = (name, "creating", self.desk.recipe.config.model.name, f"files/{file_name}", len(tasks), tokens)
            db.execute(
                "INSERT INTO batch_job (display_name, state, model, input_file, task_count, tokens, reserved_usd, "
                "created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, usd, time.time()),
            )
            self.desk.ledger.submit(name, tasks)

        await self.desk.journal.write(note)
        made = await self._create(path, file_name, name)
        path.unlink()
        if isinstance(made, Failure):
            wave = Wave(name, None, f"files/{file_name}", time.time(), tokens, usd)
            await self._close_wave(wave, made.sentence())
            if made.kind in (Kind.CONFIG, Kind.UNCLEAR, Kind.TIER_CAP):
                self.stop(ServiceRefusedError(f"The service refuses the batch job: {made.sentence()}"))
            else:
                await self._sleep(self.desk.recipe.config.retry.backoff_s)
            return False
        log.info("batch job %s: %d clips submitted", made.name, len(tasks))
        await self._write_job(name, made.name)
        return True

    async def _create(self, path: Path, file_name: str, display_name: str) -> BatchJob | Failure:
        self._store.hold(f"files/{file_name}", path.stat().st_size)
        stored = await self._service.upload(path, file_name, "jsonl")
        if isinstance(stored, Failure):
            return stored
        return await self._service.create_batch(self.desk.recipe.config.model.name, stored.name, display_name)

    async def _pack(self, path: Path, free_tokens: int, first: bool) -> tuple[list[tuple[str, str]], int, float] | None:
        """Write pending clips into a job's file until one limit is reached: bytes, clips, tokens, budget, canary."""
        desk, limit = self.desk, await self._next_size()
        tasks: list[tuple[str, str]] = []
        left: list[Task] = []
        size, tokens, usd = 0, 0, 0.0
        room = self._store.room_bytes
        with path.open("wb") as stream:
            while len(tasks) < limit and not left and self.end is None:
                name, now, wanted = desk.recipe.name, time.time(), min(limit - len(tasks), 256)
                claimed = await desk.journal.write(partial(desk.ledger.claim, name, now, wanted))
                if not claimed:
                    break
                for number, task in enumerate(claimed):
                    made = await self._line(task)
                    if made is None:
                        continue
                    line, film, expected, worst = made
                    no_room = size + len(line) > room
                    too_much = size + len(line) > self._config.max_bytes or tokens + expected > free_tokens
                    if no_room or (too_much and (tasks or not first)):
                        left = claimed[number:]
                        if no_room and not tasks and first:
                            self._store.say_full()
                            await self._store.sweep()
                        break
                    if not desk.purse.reserve(worst):
                        left = claimed[number:]
                        if not tasks and first:
                            self.stop(_budget_error(desk))
                        break
                    stream.write(line)
                    tasks.append((task.task_key, _described(film)))
                    size, tokens, usd = size + len(line), tokens + expected, usd + worst
        await desk.journal.write(lambda: desk.ledger.release(desk.recipe.name, [task.task_key for task in left]))
        return (tasks, tokens, usd) if tasks else None

    async def _line(self, task: Task) -> tuple[bytes, Film, int, float] | None:
        """A clip's line, film, expected tokens and worst cost; None when its film cannot be sent."""
        desk = self.desk
        clip = clip_of_task(task)
        film = await desk.films.prepare(clip, force_proxy=bool(task.tries.get(PROXY)))
        if isinstance(film, Failure):
            settled = desk.outcomes.settle(Sent(task, clip, None, "none", time.time()), film)
            await desk.journal.write(lambda: desk.ledger.end_task(task, settled.task))
            self._watch(settled, self)
            return None
        tries = dict(task.tries)
        expected = desk.recipe.expected_tokens(clip)
        line = self._service.batch_line(task.task_key, desk.recipe.request(clip, film, "", tries)) + b"\n"
        worst = desk.forecast.worst_usd(expected, desk.recipe.longest(tries))
        return line, film, desk.forecast.tokens(expected), worst

    async def _read_finished(self) -> int:
        """Read the jobs that have ended; gives their number."""
        count = 0
        for wave in await self._waves():
            assert wave.job_name is not None
            job = await self._service.get_batch(wave.job_name)
            if isinstance(job, Failure):
                if job.kind in (Kind.CONFIG, Kind.LOST_FILE):
                    await self._close_wave(wave, job.sentence())
                continue
            if job.state in _DONE:
                await self._read(wave, job)
                count += 1
            elif time.time() - wave.created > self._config.stall_hours * 3600:
                log.info("batch job %s is not done after %g hours: cancelled", job.name, self._config.stall_hours)
                await self._service.cancel_batch(job.name)
                await self._close_wave(wave, "stalled")
                self._note_yield(False)
                count += 1
        return count

    async def _read(self, wave: Wave, job: BatchJob) -> None:
        """Record the answers of an ended job; clips without one go back to pending."""
        if job.state != "SUCCEEDED":
            log.info("batch job %s ended as %s: %s", job.name, job.state.lower(), job.error or "no reason given")
        unknown, before = 0, self.counts.requests
        if job.result_file:
            path = self._folder / f"{wave.display_name}.results.jsonl"
            failed = await self._service.download(job.result_file, path)
            if failed is not None:
                log.info("the results of %s cannot be fetched yet: %s", job.name, failed.sentence())
                return
            waiting = await self.desk.journal.write(lambda: self._tasks_of(wave.display_name))
            with path.open("rb") as stream:
                for line in stream:
                    unknown += not await self._ingest(line, waiting, wave)
            path.unlink()
        if unknown:
            log.info("batch job %s: %d lines with unknown or repeated keys were left out", job.name, unknown)
        await self._close_wave(wave, job.state.lower())
        self._note_yield(self.counts.requests > before)
        if self.end is None and not await self._nothing_left():
            await self._judge_canary()

    def _note_yield(self, any_answer: bool) -> None:
        """Three jobs in a row without one answer will not be followed by a better one."""
        self._barren = 0 if any_answer else self._barren + 1
        if self._barren >= _MAX_BARREN:
            self.stop(
                ServiceRefusedError(
                    f"{self._barren} batch jobs in a row gave no answer: finish with captioner=gemini, which goes on "
                    "with the same ledger."
                )
            )

    async def _ingest(self, line: bytes, waiting: dict[str, tuple[Task, str]], wave: Wave) -> bool:
        """Record a line of a result file; False when its key is unknown or was there before."""
        read = self._service.read_batch_line(line)
        found = waiting.pop(read[0], None) if read is not None else None
        if read is None or found is None:
            return not line.strip()
        desk, (task, film) = self.desk, found
        sent = Sent(task, clip_of_task(task), _film(film), "batch", wave.created, wave.job_name)
        settled = desk.outcomes.settle(sent, read[1])

        def write() -> None:
            attempt = desk.ledger.begin_attempt(task, "batch", 0, 0.0)
            desk.ledger.end_attempt(attempt, settled.attempt)
            desk.ledger.end_task(task, settled.task)

        await desk.journal.write(write)
        desk.purse.settle(0.0, settled.attempt.cost_usd)
        self._react(settled)
        return True

    async def _close_wave(self, wave: Wave, why: str) -> None:
        """The job is over: what it still holds goes back to pending, its file goes away."""

        def write() -> None:
            db = self.desk.ledger.connection
            db.execute(
                "UPDATE batch_job SET state='closed', error=? WHERE display_name=?", (why[:300], wave.display_name)
            )
            db.execute(
                "UPDATE task SET state='pending', batch_job=NULL WHERE batch_job=? AND state='submitted'",
                (wave.display_name,),
            )

        await self.desk.journal.write(write)
        self.desk.purse.settle(wave.reserved_usd, 0.0)
        if wave.input_file:
            await self._store.let_go(wave.input_file)

    async def _write_job(self, display_name: str, job_name: str) -> None:
        def write() -> None:
            self.desk.ledger.connection.execute(
                "UPDATE batch_job SET state='submitted', job_name=? WHERE display_name=?", (job_name, display_name)
            )

        await self.desk.journal.write(write)

    async def _waves(self) -> list[Wave]:
        def read() -> list[Any]:
            query = (
                "SELECT display_name, job_name, input_file, created, tokens, reserved_usd FROM batch_job "
                "WHERE state IN ('creating', 'submitted') ORDER BY created"
            )
            return self.desk.ledger.connection.execute(query).fetchall()

        return [Wave(*row) for row in await self.desk.journal.write(read)]

    def _tasks_of(self, display_name: str) -> dict[str, tuple[Task, str]]:
        return {task.task_key: (task, film) for task, film in self.desk.ledger.submitted(display_name)}

    async def _nothing_left(self) -> bool:
        name = self.desk.recipe.name
        return await self.desk.journal.write(lambda: self.desk.ledger.next_due(name)) is None

    async def _next_size(self) -> int:
        """Clips of the next job: the canary's first, while it has not been judged."""
        return self.desk.recipe.config.canary if await self._canary_open() else self._config.max_tasks

    async def _canary_open(self) -> bool:
        desk, wanted = self.desk, self.desk.recipe.config.canary
        if not wanted or desk.num_clips <= wanted:
            return False
        first = await desk.journal.write(
            lambda: list(reading.first_results(desk.ledger.connection, desk.recipe.name, wanted))
        )
        return len(first) < wanted

    async def _canary_is_out(self) -> bool:
        """Whether the canary's job is in flight: then nothing else is submitted."""
        return bool(await self._waves()) and await self._canary_open()

    async def _judge_canary(self) -> None:
        desk, wanted = self.desk, self.desk.recipe.config.canary
        if not wanted or desk.num_clips <= wanted:
            return
        name = desk.recipe.name
        first = await desk.journal.write(lambda: list(reading.first_results(desk.ledger.connection, name, wanted)))
        if len(first) >= wanted and (complaint := canary_report(desk, first).complaint()):
            self.stop(CanaryError(f"Canary: {complaint}"))

    async def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.end is None and time.monotonic() < until:
            await asyncio.sleep(min(0.2, max(until - time.monotonic(), 0.0)))


def _described(film: Film) -> str:
    """What a record says of a film, as JSON: when the answer comes, the film itself may be a proxy long deleted."""
    values = (film.mime_type, film.size, film.media_sha256, film.has_audio, film.proxy)
    return json.dumps(values)


def _film(described: str) -> Film:
    mime_type, size, digest, has_audio, proxy = json.loads(described)
    return Film(mime_type, Path(), size, None, digest, has_audio, proxy)


def _budget_error(desk: Desk) -> SgError:
    purse = desk.purse
    return BudgetReachedError(
        f"The budget of ${purse.budget_usd:.2f} is reached: ${purse.spent_usd:.4f} are spent, and one more request "
        "could pass it. Captions so far are kept; go on with a larger captioner.budget_usd."
    )
