"""Batch jobs: tasks packed into jobs at half the price, submitted once, watched, and read back into the ledger.

A job is paid for whether or not its answers are read, so no crash may submit it twice or lose it. The run chooses a
random display name and writes it to the ledger before it creates the job. After a crash between the creation of a job
and its confirmation in the ledger, the name is looked up in the service's list of jobs. A job in the list is adopted.
If the job is not in the list, its tasks become pending again.

A job and its tasks change in one transaction: when the job is recorded and its tasks become `submitted`, when an answer
is recorded with its cost and state, and when the job is closed and its unanswered tasks become pending.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from sg.caption.hosted.engine.job_results import JobResults
from sg.caption.hosted.engine.limits import (
    ServiceRefusedError,
    ServiceUnavailableError,
    daily_quota_used,
    refusal,
    unreadable_job,
)
from sg.caption.hosted.engine.outcomes import Settled
from sg.caption.hosted.engine.packing import Packer
from sg.caption.hosted.engine.requests import RequestPipeline
from sg.caption.hosted.engine.run import CaptioningRun
from sg.caption.hosted.services.records import ENDED, BatchJob, BatchService, Failure, Kind, StoredFile
from sg.caption.ledger import batch_jobs, reading
from sg.caption.ledger.batch_jobs import RecordedJob

log = logging.getLogger(__name__)
_GONE = (Kind.CONFIG, Kind.LOST_FILE, Kind.UNCLEAR, Kind.ODD)
_TEMPORARY = (Kind.TRANSIENT, Kind.BUG, Kind.QUOTA, Kind.QUOTA_DAY, Kind.STORAGE)
_MAX_UNANSWERED_JOBS = 3
_LOOKS = 3
"""Looks at the list of jobs for one without a confirmation; a job may be in the list later than it is created."""


class BatchCaptioningRun(CaptioningRun):
    """A run whose requests go out in jobs. Tasks that a job leaves unanswered go into the next job."""

    def __init__(self, pipeline: RequestPipeline, watch: Callable[[Settled, CaptioningRun], None]) -> None:
        super().__init__(pipeline, watch)
        assert pipeline.store is not None
        self._config, self._store = pipeline.recipe.config.batch, pipeline.store
        self._service: BatchService = pipeline.service  # type: ignore[assignment]  # these settings build no other
        self._ledger, self._journal = pipeline.ledger, pipeline.journal
        self._unanswered_jobs = self._failed_submissions = 0
        self._free_at = 0.0
        """When jobs may be submitted again, after the service reported that the quota of the day is used up."""
        self._reported = ""
        # Files of a killed process. Its unfinished jobs keep their input at the service, not here.
        self._folder = pipeline.ledger.path.parent / "batches"
        self._folder.mkdir(exist_ok=True)
        for stale in self._folder.iterdir():
            stale.unlink()
        self._packer = Packer(self, self._service, self._store, self._config, watch)
        self._results = JobResults(pipeline, self._service, self._folder, self._react)

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
        backoff_s = self.pipeline.recipe.config.retry.backoff_s
        for look in range(_LOOKS):
            unsure = [job for job in await self._jobs() if not job.job_name]
            if not unsure:
                return
            if look:
                await self._sleep(backoff_s * 2**look)
            listed = await self._service.list_batches()
            known = {} if isinstance(listed, Failure) else {job.display_name: job for job in listed if job.name}
            for recorded in unsure:
                if (job := known.get(recorded.display_name)) is not None:
                    log.info("batch job %s was submitted, but not confirmed: adopted", job.name)
                    await self._confirm(recorded.display_name, job.name)
        if isinstance(listed, Failure):
            raise ServiceRefusedError(f"The service's batch jobs cannot be listed ({listed.sentence()}): try again.")
        for recorded in [job for job in await self._jobs() if not job.job_name]:
            await self._close(recorded, "never submitted")

    async def _submit_jobs(self) -> int:
        """Submit as many jobs as tasks, allowances, quota and budget permit; returns their number."""
        count = 0
        while self.end is None:
            jobs = await self._jobs()
            if self._free_at > time.time():
                if not jobs and self.pipeline.recipe.config.quota.on_daily_quota == "stop":
                    self.stop(daily_quota_used(self._free_at))
                return count
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
        packed = await self._packer.pack(path, most, free_tokens, is_first)
        if not packed.tasks:
            path.unlink(missing_ok=True)
            return False
        model = self.pipeline.recipe.config.model.name
        job = RecordedJob(name, None, f"files/sg-{name}", time.time(), packed.tokens, packed.usd, len(packed.tasks))
        # In the ledger before it is created, so that a crash from here on leaves a name to look for.
        await self._journal.write(lambda: batch_jobs.add_job(self._ledger, job, model, packed.tasks))
        stored = await self._upload(path, job)
        path.unlink()
        if isinstance(stored, Failure):
            await self._close(job, stored.sentence())
            return await self._not_submitted(stored)
        made = await self._service.create_batch(model, stored.name, job.display_name)
        if isinstance(made, Failure) and made.kind in (Kind.TRANSIENT, Kind.BUG):
            # The job may exist although its confirmation was lost: only the list of jobs can tell.
            log.info("the batch job was not confirmed (%s): looking for it", made.sentence())
            await self._sleep(self.pipeline.recipe.config.retry.backoff_s)
            await self._recover()
            if name in {known.display_name for known in await self._jobs()}:
                return True
            return await self._not_submitted(made)
        if isinstance(made, Failure):
            await self._close(job, made.sentence())
            return await self._not_submitted(made)
        log.info("batch job %s: %d videos submitted", made.name, len(packed.tasks))
        self._failed_submissions = 0
        await self._confirm(name, made.name)
        return True

    async def _not_submitted(self, failure: Failure) -> bool:
        """Stop, or wait before the next job is submitted; always False."""
        retry = self.pipeline.recipe.config.retry
        if failure.kind not in _TEMPORARY:
            self.stop(refusal(failure.kind, f"the batch job: {failure.sentence()}"))
            return False
        log.info("the service takes no batch job now (%s)", failure.sentence())
        if failure.kind is Kind.QUOTA_DAY:
            self._free_at = reading.pacific_midnight(time.time(), 1)
            return False
        if failure.kind is Kind.STORAGE:
            await self._store.sweep()
        if failure.kind in (Kind.TRANSIENT, Kind.BUG):
            self._failed_submissions += 1
            if self._failed_submissions >= retry.max_attempts:
                self.stop(
                    ServiceUnavailableError(
                        f"The service has failed to take a batch job {self._failed_submissions} times "
                        f"({failure.sentence()}): run the same command later, it continues."
                    )
                )
        pause = min(retry.backoff_s * 2**self._failed_submissions, retry.max_wait_s)
        await self._sleep(min(max(failure.retry_after_s or 0.0, pause), retry.max_wait_s))
        return False

    async def _upload(self, path: Path, job: RecordedJob) -> StoredFile | Failure:
        assert job.input_file is not None
        self._store.hold(job.input_file, path.stat().st_size)
        return await self._service.upload(path, job.input_file.removeprefix("files/"), "jsonl")

    async def _read_finished(self) -> int:
        """Read the jobs that have ended, and cancel the ones that stall; returns their number."""
        count = 0
        for recorded in await self._jobs():
            assert recorded.job_name is not None
            job = await self._service.get_batch(recorded.job_name)
            if isinstance(job, Failure):
                self._note_unreadable(recorded, job)
            elif job.state in ENDED:
                count += await self._read(recorded, job)
            elif self._age(recorded) > 1:
                count += await self._cancel(recorded, job)
        return count

    def _age(self, job: RecordedJob) -> float:
        """The age of a job as a multiple of the time after which it counts as stalled."""
        return (time.time() - job.created) / (self._config.stall_hours * 3600)

    def _note_unreadable(self, recorded: RecordedJob, failure: Failure) -> None:
        """Stop if the service will not show a job; otherwise the next look decides, as long as jobs may take."""
        if failure.kind in _GONE or self._age(recorded) > 2:
            self.stop(unreadable_job(recorded, failure.sentence()))
        elif failure.sentence() != self._reported:
            self._reported = failure.sentence()
            log.info("batch job %s cannot be read now (%s): looking again", recorded.job_name, self._reported)

    async def _cancel(self, recorded: RecordedJob, job: BatchJob) -> bool:
        """Cancel a job that stalls; returns whether its tasks may go into another one.

        A cancelled job can have answers, and it may have ended before. A job whose cancellation the service has not
        accepted may still be answered and paid for, so its tasks are not sent again.
        """
        log.info("batch job %s is not done after %g hours: cancelled", job.name, self._config.stall_hours)
        failed = await self._service.cancel_batch(job.name)
        last = await self._service.get_batch(job.name)
        if isinstance(last, BatchJob) and last.state in ENDED:
            return await self._read(recorded, last)
        if failed is None and self._age(recorded) > 1.1:
            await self._close(recorded, "stalled")
            self._note_answers(False)
            return True
        if failed is not None and self._age(recorded) > 2:
            self.stop(unreadable_job(recorded, f"it is {job.state or 'in no state'} and cannot be cancelled"))
        return False

    async def _read(self, recorded: RecordedJob, job: BatchJob) -> bool:
        """Record the answers of an ended job; tasks without one become pending again. Returns whether it was read.

        Jobs that expired, failed or were cancelled may have the answers up to that moment. If a job that succeeded has
        no readable line at all, its answers are paid for: the run stops, and the job stays in the ledger.
        """
        if job.state != "SUCCEEDED":
            log.info("batch job %s ended as %s: %s", job.name, job.state.lower(), job.error or "no reason given")
        before = self.counts.requests
        path = await self._results.fetch(recorded, job)
        if isinstance(path, Failure):
            self._note_unreadable(recorded, path)
            return False
        useless, unanswered = await self._results.read(path, recorded)
        if path is not None:
            path.unlink()
        if useless:
            log.info("batch job %s: %d lines that are unreadable, unknown or repeated were left out", job.name, useless)
        if job.state in ("SUCCEEDED", "PARTIALLY_SUCCEEDED") and unanswered:
            if len(unanswered) == recorded.num_tasks:
                self.stop(unreadable_job(recorded, "no line has the key of one of its videos"))
                return False
            if job.state == "SUCCEEDED":
                await self._results.settle_missing(list(unanswered.values()), recorded)
        await self._close(recorded, job.state.lower())
        self._note_answers(self.counts.requests > before)
        await self._judge_canary()
        return True

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

    async def _nothing_left(self) -> bool:
        name = self.pipeline.recipe.name
        return await self._journal.write(lambda: self._ledger.next_due(name)) is None

    async def _sleep(self, seconds: float) -> None:
        """Wait in short steps, so that an interrupt is noticed at once."""
        until = time.monotonic() + seconds
        while self.end is None and time.monotonic() < until:
            await asyncio.sleep(min(0.2, max(until - time.monotonic(), 0.0)))
