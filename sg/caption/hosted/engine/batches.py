"""Batch jobs: tasks packed into jobs at half the price, submitted once, watched, and read back into the ledger.

A job is paid for whether or not its answers are read, so no crash may submit it twice or lose it. The run chooses a
random display name and writes it to the ledger before it creates the job. After a crash between the creation of a job
and its confirmation in the ledger, the name is looked up in the service's list of jobs. A job in the list is adopted.
If the job is not in the list, its tasks become pending again.

A job and its tasks change in one transaction: when the job is recorded and its tasks become `submitted`, when an answer
is recorded with its cost and state, and when the job is closed and its unanswered tasks become pending.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sg.caption.hosted.engine.items import item_of_task
from sg.caption.hosted.engine.limits import ServiceRefusedError, unreadable_job
from sg.caption.hosted.engine.media import MediaFile, media_as_json, media_from_json
from sg.caption.hosted.engine.outcomes import Sent, Settled
from sg.caption.hosted.engine.requests import RequestPipeline
from sg.caption.hosted.engine.retries import PROXY
from sg.caption.hosted.engine.run import CLAIMED_AT_ONCE, CaptioningRun
from sg.caption.hosted.services.records import ENDED, Answer, BatchJob, BatchService, Failure, Kind, StoredFile
from sg.caption.hosted.settings import BatchedCaptionerConfig
from sg.caption.ledger import batch_jobs
from sg.caption.ledger.batch_jobs import RecordedJob
from sg.caption.ledger.ledger import Task
from sg.caption.ledger.recipes import task_key

log = logging.getLogger(__name__)
_GONE = (Kind.CONFIG, Kind.LOST_FILE, Kind.UNCLEAR)
_MAX_UNANSWERED_JOBS = 3
_Waiting = dict[str, tuple[Task, str]]
"""Tasks of a job, each with its media file as JSON, by the key that a line may have."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One task as a line of a job's input file, with the input tokens and the cost to reserve for it."""

    task: Task
    data: bytes
    file: MediaFile
    tokens: int
    worst_usd: float


@dataclass(slots=True)
class _Pack:
    """The tasks that are packed into one job: (task key, media file as JSON) each, and their sums."""

    tasks: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    tokens: int = 0
    usd: float = 0.0
    is_full: bool = False


class BatchCaptioningRun(CaptioningRun):
    """A run whose requests go out in jobs. Tasks that a job leaves unanswered go into the next job."""

    def __init__(self, pipeline: RequestPipeline, watch: Callable[[Settled, CaptioningRun], None]) -> None:
        super().__init__(pipeline, watch)
        config = pipeline.recipe.config
        assert isinstance(config, BatchedCaptionerConfig) and pipeline.store is not None
        self._config, self._store = config.batch, pipeline.store
        self._service: BatchService = pipeline.service  # type: ignore[assignment]  # these settings build no other
        self._ledger, self._journal = pipeline.ledger, pipeline.journal
        self._unanswered_jobs = 0
        # Files of a killed process. Its unfinished jobs keep their input at the service, not here.
        self._folder = pipeline.ledger.path.parent / "batches"
        self._folder.mkdir(exist_ok=True)
        for stale in self._folder.iterdir():
            stale.unlink()

    async def go(self) -> None:
        """Adopt the jobs of an earlier run, then submit, watch and read jobs until no task is left."""
        with self._signals():
            pause = self._config.poll_s
            await self._recover()
            for job in await self._jobs():
                # Unlike single requests, jobs survive the process: their reserved costs are not spent yet.
                self.pipeline.budget.reserved_usd += job.reserved_usd
            while self.end is None:
                if await self._submit_jobs() or await self._read_finished():
                    pause = self._config.poll_s
                    continue
                if not await self._jobs() and await self._nothing_left():
                    break
                await self._sleep(pause)
                pause = min(pause * 1.3, self._config.max_poll_s)
        await self._raise_end()

    async def _recover(self) -> None:
        """Look up jobs without the service's confirmation: a run ended while it created them.

        The service has the job if the request arrived before the process ended. Only the service's list can tell:
        submitting such a job again could pay for it twice.
        """
        unsure = [job for job in await self._jobs() if job.job_name is None]
        if not unsure:
            return
        listed = await self._service.list_batches()
        if isinstance(listed, Failure):
            raise ServiceRefusedError(f"The service's batch jobs cannot be listed ({listed.sentence()}): try again.")
        known = {job.display_name: job for job in listed}
        for recorded in unsure:
            if (job := known.get(recorded.display_name)) is not None:
                log.info("batch job %s was submitted before the last run ended: adopted", job.name)
                await self._confirm(recorded.display_name, job.name)
            else:
                await self._close(recorded, "never submitted")

    async def _submit_jobs(self) -> int:
        """Submit as many jobs as tasks, allowances and budget permit; returns their number."""
        count = 0
        while self.end is None:
            jobs = await self._jobs()
            is_canary_open = await self.canary.missing() > 0
            if is_canary_open and jobs:
                # The canary's job is unfinished: nothing else is submitted before it has been judged.
                return count
            free_tokens = self._config.enqueued_tokens - sum(job.tokens for job in jobs)
            most = self.canary.size if is_canary_open else self._config.max_tasks
            if len(jobs) >= self._config.max_jobs or not await self._submit(most, free_tokens, is_first=not jobs):
                return count
            count += 1
        return count

    async def _submit(self, most: int, free_tokens: int, *, is_first: bool) -> bool:
        """Pack one job of at most `most` tasks and submit it; False if nothing fits or nothing is left."""
        name = uuid.uuid4().hex
        path = self._folder / f"{name}.jsonl"
        packed = await self._pack(path, most, free_tokens, is_first)
        if not packed.tasks:
            path.unlink(missing_ok=True)
            return False
        model = self.pipeline.recipe.config.model.name
        job = RecordedJob(name, None, f"files/sg-{name}", time.time(), packed.tokens, packed.usd, len(packed.tasks))
        # In the ledger before it is created, so that a crash from here on leaves a name to look for.
        await self._journal.write(lambda: batch_jobs.add_job(self._ledger, job, model, packed.tasks))
        stored = await self._upload(path, job)
        path.unlink()
        made: StoredFile | BatchJob | Failure = stored
        if not isinstance(stored, Failure):
            made = await self._service.create_batch(model, stored.name, job.display_name)
        if isinstance(made, Failure):
            retry = self.pipeline.recipe.config.retry
            if not isinstance(stored, Failure) and made.kind in (Kind.TRANSIENT, Kind.BUG):
                # The job may exist although its confirmation was lost: only the list of jobs can tell.
                log.info("the batch job was not confirmed (%s): looking for it", made.sentence())
                await self._sleep(retry.backoff_s)
                await self._recover()
                return False
            await self._close(job, made.sentence())
            if made.kind in (Kind.CONFIG, Kind.UNCLEAR, Kind.TIER_CAP):
                self.stop(ServiceRefusedError(f"The service refuses the batch job: {made.sentence()}"))
            else:
                await self._sleep(min(max(made.retry_after_s or 0.0, retry.backoff_s), retry.max_wait_s))
            return False
        assert isinstance(made, BatchJob)
        log.info("batch job %s: %d videos submitted", made.name, len(packed.tasks))
        await self._confirm(name, made.name)
        return True

    async def _upload(self, path: Path, job: RecordedJob) -> StoredFile | Failure:
        assert job.input_file is not None
        self._store.hold(job.input_file, path.stat().st_size)
        return await self._service.upload(path, job.input_file.removeprefix("files/"), "jsonl")

    async def _pack(self, path: Path, most: int, free_tokens: int, is_first: bool) -> _Pack:
        """Write pending tasks into a job's file until a limit is reached: bytes, tasks, tokens, budget or store.

        Tasks are claimed in small groups, because their number per job is only known once their files are encoded.
        Claimed tasks that do not fit are released.
        """
        pipeline, packed = self.pipeline, _Pack()
        left: list[Task] = []
        with path.open("wb") as stream:
            while len(packed.tasks) < most and not packed.is_full and self.end is None:
                wanted = min(most - len(packed.tasks), CLAIMED_AT_ONCE)
                claim = partial(self._ledger.claim, pipeline.recipe.name, time.time(), wanted)
                claimed = await self._journal.write(claim)
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
        release = partial(self._ledger.release, pipeline.recipe.name, [task.task_key for task in left])
        await self._journal.write(release)
        return packed

    async def _fits(self, line: _Line, packed: _Pack, free_tokens: int, is_first: bool) -> bool:
        """Whether a line fits into the job; its cost is then reserved.

        `is_first`: no other job is unfinished. A first line that exceeds the limits of bytes or tokens is then sent
        alone, since waiting would never make room for it. If the store or the budget has no room for it, nothing in
        flight can make room, so the store is looked at again, and the run stops for the budget.
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
        if not self.pipeline.budget.reserve(line.worst_usd):
            if is_alone:
                self.stop(self.pipeline.budget.exceeded())
            return False
        return True

    async def _line(self, task: Task) -> _Line | None:
        """A task's line of the input file; None if its video cannot be sent, which is recorded as its result."""
        pipeline, tries = self.pipeline, dict(task.tries)
        item = item_of_task(task)
        file = await pipeline.media.prepare(item, force_proxy=bool(tries.get(PROXY)))
        if isinstance(file, Failure):
            settled = pipeline.outcomes.settle(Sent(task, item, None, "none", time.time()), file)
            await self._journal.write(lambda: self._ledger.end_task(task, settled.task))
            self._watch(settled, self)
            return None
        expected = pipeline.recipe.expected_tokens(item)
        data = self._service.batch_line(task.task_key, pipeline.recipe.request(item, file, "", tries)) + b"\n"
        worst = pipeline.forecast.worst_usd(expected, pipeline.recipe.longest(tries))
        return _Line(task, data, file, pipeline.forecast.tokens(expected), worst)

    async def _read_finished(self) -> int:
        """Read the jobs that have ended, and cancel the ones that stall; returns their number."""
        count = 0
        for recorded in await self._jobs():
            assert recorded.job_name is not None
            job = await self._service.get_batch(recorded.job_name)
            if isinstance(job, Failure):
                # Other failures are temporary: the next look decides.
                if job.kind in _GONE:
                    self.stop(unreadable_job(recorded, job.sentence()))
                continue
            if job.state in ENDED:
                await self._read(recorded, job)
                count += 1
            elif time.time() - recorded.created > self._config.stall_hours * 3600:
                log.info("batch job %s is not done after %g hours: cancelled", job.name, self._config.stall_hours)
                await self._service.cancel_batch(job.name)
                # A cancelled job can have answers, and it may have ended before it was cancelled.
                last = await self._service.get_batch(job.name)
                if isinstance(last, BatchJob) and last.state in ENDED:
                    await self._read(recorded, last)
                else:
                    await self._close(recorded, "stalled")
                    self._note_answers(False)
                count += 1
        return count

    async def _read(self, recorded: RecordedJob, job: BatchJob) -> None:
        """Record the answers of an ended job; tasks without one become pending again.

        Jobs that expired, failed or were cancelled may have the answers up to that moment. If a job that succeeded has
        no readable line at all, its answers are paid for: the run stops, and the job stays in the ledger.
        """
        if job.state != "SUCCEEDED":
            log.info("batch job %s ended as %s: %s", job.name, job.state.lower(), job.error or "no reason given")
        before = self.counts.requests
        path = self._folder / f"{recorded.display_name}.results.jsonl"
        if job.inline_results:
            path.write_bytes(b"\n".join(job.inline_results))
        elif job.result_file and (failed := await self._service.download(job.result_file, path)) is not None:
            if failed.kind in _GONE:
                self.stop(unreadable_job(recorded, failed.sentence()))
            # The job stays unfinished in the ledger, so the next look tries again.
            log.info("the results of %s cannot be downloaded yet: %s", job.name, failed.sentence())
            return
        waiting = await self._journal.write(lambda: self._unanswered(recorded.display_name))
        unanswered = {found[0].task_key: found for found in waiting.values()}
        is_unread = len(unanswered) == recorded.num_tasks
        unknown = await self._ingest_file(path, waiting, unanswered, recorded) if path.exists() else 0
        path.unlink(missing_ok=True)
        if unknown:
            log.info("batch job %s: %d lines with unknown or repeated keys were left out", job.name, unknown)
        if job.state == "SUCCEEDED" and unanswered:
            if is_unread and len(unanswered) == recorded.num_tasks:
                self.stop(unreadable_job(recorded, "no line has the key of one of its videos"))
                return
            for found in unanswered.values():
                missing = Failure(Kind.TRANSIENT, "the results of the batch job have no line for this video")
                await self._settle(found, missing, recorded)
        await self._close(recorded, job.state.lower())
        self._note_answers(self.counts.requests > before)
        await self._judge_canary()

    async def _ingest_file(self, path: Path, waiting: _Waiting, unanswered: _Waiting, recorded: RecordedJob) -> int:
        """Record the lines of a result file; returns the number of lines with unknown or repeated keys.

        Services have returned lines of other jobs, and two lines for one video. Errors therefore come last: an answer
        for the same video is paid for. One line is one transaction: a crash in the middle of a file repeats no line,
        because the next process reads only the tasks that are still `submitted`.
        """
        unknown, errors = 0, dict[str, Failure]()
        with path.open("rb") as stream:
            for line in filter(bytes.strip, stream):
                read = self._service.read_batch_line(line)
                found = None if read is None else waiting.get(read[0])
                if read is None or found is None or found[0].task_key not in unanswered:
                    unknown += 1
                elif isinstance(read[1], Failure):
                    errors[read[0]] = read[1]
                else:
                    del unanswered[found[0].task_key]
                    await self._settle(found, read[1], recorded)
        for key, failure in errors.items():
            if unanswered.pop(waiting[key][0].task_key, None) is not None:
                await self._settle(waiting[key], failure, recorded)
        return unknown

    async def _judge_canary(self) -> None:
        """Stop if the canary is complete and differs from the estimate, unless no task is left."""
        if self.end is not None or await self._nothing_left() or await self.canary.missing():
            return
        if (error := await self.canary.error()) is not None:
            self.stop(error)

    def _note_answers(self, has_answers: bool) -> None:
        """Stop after several jobs in a row without one answer: each of them takes up to a day and obtains nothing."""
        self._unanswered_jobs = 0 if has_answers else self._unanswered_jobs + 1
        if self._unanswered_jobs >= _MAX_UNANSWERED_JOBS:
            self.stop(
                ServiceRefusedError(
                    f"{self._unanswered_jobs} batch jobs in a row returned no answer: finish with captioner=gemini, "
                    "which continues with the same ledger."
                )
            )

    async def _settle(self, found: tuple[Task, str], outcome: Answer | Failure, recorded: RecordedJob) -> None:
        """Record the outcome of one task of a job."""
        pipeline, (task, media) = self.pipeline, found
        item = item_of_task(task)
        likely = pipeline.forecast.likely_usd(pipeline.recipe.expected_tokens(item))
        sent = Sent(task, item, media_from_json(media), "batch", recorded.created, recorded.job_name, likely)

        def write(settled: Settled) -> None:
            # The cost was reserved with the job, so the attempt reserves nothing.
            attempt = self._ledger.begin_attempt(task, "batch", 0, 0.0)
            self._ledger.end_attempt(attempt, settled.attempt)
            self._ledger.end_task(task, settled.task)

        settled = await pipeline.commit(sent, outcome, pipeline.outcomes.settle(sent, outcome), write)
        pipeline.budget.settle(0.0, settled.attempt.cost_usd)
        self._react(settled)

    async def _close(self, job: RecordedJob, reason: str) -> None:
        """End a job: its unanswered tasks become pending, its reserved cost is free, its input file is deleted."""
        await self._journal.write(lambda: batch_jobs.close_job(self._ledger, job.display_name, reason))
        self.pipeline.budget.settle(job.reserved_usd, 0.0)
        if job.input_file:
            await self._store.let_go(job.input_file)

    async def _confirm(self, display_name: str, job_name: str) -> None:
        await self._journal.write(lambda: batch_jobs.confirm_job(self._ledger, display_name, job_name))

    async def _jobs(self) -> list[RecordedJob]:
        return await self._journal.write(lambda: batch_jobs.unfinished_jobs(self._ledger))

    def _unanswered(self, display_name: str) -> _Waiting:
        """The unanswered tasks of a job by the keys that its lines may have.

        A job that was submitted before its recipe was renamed has the keys of the former name.
        """
        former = self.pipeline.recipe.former_name
        found = {}
        for task, media in batch_jobs.unanswered_tasks(self._ledger, display_name):
            found[task.task_key] = found[task_key(task.item_key, former)] = task, media
        return found

    async def _nothing_left(self) -> bool:
        name = self.pipeline.recipe.name
        return await self._journal.write(lambda: self._ledger.next_due(name)) is None

    async def _sleep(self, seconds: float) -> None:
        """Wait in short steps, so that an interrupt is noticed at once."""
        until = time.monotonic() + seconds
        while self.end is None and time.monotonic() < until:
            await asyncio.sleep(min(0.2, max(until - time.monotonic(), 0.0)))
