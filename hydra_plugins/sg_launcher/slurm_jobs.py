"""Jobs of Slurm that leave no result (killed, out of memory, out of time): one sentence each, and the others go on."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from sg.core.errors import SgError
from sg.study.sweep import note_failure, planned_run


@contextlib.contextmanager
def lost_jobs_as_results(launcher: str) -> Iterator[None]:
    """In the block the result of a lost job is a failed `JobReturn`. submitit would raise, and wait for no other job.

    `launcher` is the name of the launcher's class.
    """
    if "submitit" not in launcher:
        yield
        return
    from submitit.core.core import Job
    from submitit.core.utils import FailedJobError, UncompletedJobError

    results = Job.results

    def settled(job: Job[Any]) -> list[Any]:
        try:
            return results(job)
        except (FailedJobError, UncompletedJobError):
            lost = JobReturn(status=JobStatus.FAILED)
            lost.return_value = SgError(
                f"Slurm job {job.job_id} ended without a result ({job.state}); its log is {job.paths.stderr}"
            )
            return [lost]

    with mock.patch.object(Job, "results", settled):
        yield


def note_lost_jobs(
    returns: Sequence[JobReturn], configs: Sequence[DictConfig], overrides: Sequence[Sequence[str]]
) -> None:
    """Write a failed result for every job that left none, and name its run in the error."""
    for job, config, words in zip(returns, configs, overrides, strict=True):
        if job.cfg is None and job.status == JobStatus.FAILED:
            run = planned_run(config, list(words))
            reason = note_failure(run, config, str(job._return_value))
            job.overrides = list(words)
            job.return_value = SgError(f"Run {run.name} failed: {reason}. Run the same command again to resume.")
