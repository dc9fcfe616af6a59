"""The answers of ended batch jobs: downloaded within bounds, and read line by line into the ledger."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sg.caption.hosted.engine.items import item_of_task
from sg.caption.hosted.engine.media import media_from_json
from sg.caption.hosted.engine.outcomes import Sent, Settled
from sg.caption.hosted.engine.requests import RequestPipeline
from sg.caption.hosted.services.records import Answer, BatchJob, BatchService, Failure, Kind
from sg.caption.ledger import batch_jobs
from sg.caption.ledger.batch_jobs import RecordedJob
from sg.caption.ledger.ledger import Ledger, Task
from sg.caption.ledger.recipes import task_key

MAX_LINE_BYTES = 2**25
_BYTES_PER_LINE, _BYTES_PER_TOKEN = 2**16, 64
"""The largest answer of a video: what surrounds it, and its tokens, escaped and with their signatures."""
_Waiting = dict[str, tuple[Task, str]]
"""Tasks of a job, each with its media file as JSON, by the key that a line may have."""


class JobResults:
    """Reads the results of the jobs of a run; `react` is called with the outcome of every line."""

    def __init__(
        self, pipeline: RequestPipeline, service: BatchService, folder: Path, react: Callable[[Settled], None]
    ) -> None:
        self._pipeline, self._service, self._folder, self._react = pipeline, service, folder, react

    async def fetch(self, recorded: RecordedJob, job: BatchJob) -> Path | Failure | None:
        """A file with the job's result lines; None if the job has none."""
        path = self._folder / f"{recorded.display_name}.results.jsonl"
        if job.inline_results:
            path.write_bytes(b"\n".join(job.inline_results))
            return path
        if not job.result_file:
            return None
        per_line = _BYTES_PER_LINE + _BYTES_PER_TOKEN * self._pipeline.recipe.config.model.max_output_tokens
        most = MAX_LINE_BYTES + recorded.num_tasks * per_line
        return await self._service.download(job.result_file, path, most) or path

    async def read(self, path: Path | None, recorded: RecordedJob) -> tuple[int, _Waiting]:
        """Record the lines of a result file; returns the number of useless lines, and the tasks without a line.

        Services have returned lines of other jobs, and two lines for one video. Errors therefore come last: an answer
        for the same video is paid for. One line is one transaction: a crash in the middle of a file repeats no line,
        because the next process reads only the tasks that are still `submitted`.
        """
        waiting = await self._waiting(recorded.display_name)
        unanswered = {found[0].task_key: found for found in waiting.values()}
        if path is None:
            return 0, unanswered
        useless, errors = 0, dict[str, Failure]()
        with path.open("rb") as stream:
            for line in _lines(stream):
                read = self._service.read_batch_line(line)
                found = None if read is None else waiting.get(read[0])
                if read is None or found is None or found[0].task_key not in unanswered:
                    useless += 1
                elif isinstance(read[1], Failure):
                    errors[read[0]] = read[1]
                else:
                    del unanswered[found[0].task_key]
                    await self.settle(found, read[1], recorded)
        for key, failure in errors.items():
            if unanswered.pop(waiting[key][0].task_key, None) is not None:
                await self.settle(waiting[key], failure, recorded)
        return useless, unanswered

    async def settle(self, found: tuple[Task, str], outcome: Answer | Failure, recorded: RecordedJob) -> None:
        """Record the outcome of one task of a job."""
        pipeline, (task, media) = self._pipeline, found
        ledger: Ledger = pipeline.ledger
        item = item_of_task(task)
        sent = Sent(task, item, media_from_json(media), "batch", recorded.created, recorded.job_name)
        if isinstance(outcome, Answer):
            outcome = pipeline.recipe.believed(outcome, item, dict(task.tries))

        def write(settled: Settled) -> None:
            # The cost was reserved with the job, so the attempt reserves nothing.
            attempt = ledger.begin_attempt(task, "batch", 0, 0.0)
            ledger.end_attempt(attempt, settled.attempt)
            ledger.end_task(task, settled.task)

        settled = await pipeline.commit(sent, outcome, pipeline.outcomes.settle(sent, outcome), write)
        pipeline.budget.settle(0.0, settled.attempt.cost_usd)
        self._react(settled)

    async def settle_missing(self, unanswered: list[tuple[Task, str]], recorded: RecordedJob) -> None:
        """Record that a job that succeeded has no line for these tasks."""
        for found in unanswered:
            missing = Failure(Kind.TRANSIENT, "the results of the batch job have no line for this video")
            await self.settle(found, missing, recorded)

    async def _waiting(self, display_name: str) -> _Waiting:
        """The unanswered tasks of a job by the keys that its lines may have.

        A job that was submitted before its recipe was renamed has the keys of the former name.
        """
        former, ledger = self._pipeline.recipe.former_name, self._pipeline.ledger
        rows = await self._pipeline.journal.write(lambda: batch_jobs.unanswered_tasks(ledger, display_name))
        found = {}
        for task, media in rows:
            found[task.task_key] = found[task_key(task.item_key, former)] = task, media
        return found


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a file without blank ones; a line above the limit comes in pieces, which no reader takes."""
    while line := stream.readline(MAX_LINE_BYTES):
        if line.strip():
            yield line
