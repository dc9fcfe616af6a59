"""Jobs of Slurm that leave no result (killed, out of memory, out of time): one sentence each, and the others go on."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from sg.core.errors import SgError
from sg.study.sweep import note_failure, planned_run


def launch_array(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Submit the jobs of a launcher of submitit as one array, and return how each ended, as listed.

    The launcher's own `launch` submits them in the same way, but raises at the first job without a result, and waits
    for no other.

    Args:
        first: number of the first job.
    """
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    general, cluster = {setting.name for setting in fields(BaseQueueConf)}, launcher._EXECUTOR
    settings = {name if name in general else f"{cluster}_{name}": value for name, value in launcher.params.items()}
    at_start = {"folder": settings.pop("submitit_folder")}
    timeouts = f"{cluster}_max_num_timeout"
    if timeouts in settings:
        at_start[timeouts] = settings.pop(timeouts)
    executor = submitit.AutoExecutor(cluster=cluster, **at_start)
    executor.update_parameters(**settings)
    state = Singleton.get_state()
    calls = [
        (list(words), "hydra.sweep.dir", number, f"job_id_for_{number}", state)
        for number, words in enumerate(job_overrides, first)
    ]
    return [_outcome(job) for job in executor.map_array(launcher, *zip(*calls, strict=True))]


def _outcome(job: Any) -> JobReturn:
    """How a job ended; waits for it."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        returned: JobReturn = job.results()[0]
    except (FailedJobError, UncompletedJobError):
        returned = JobReturn(status=JobStatus.FAILED)
        returned.return_value = SgError(
            f"Slurm job {job.job_id} ended without a result ({job.state}); its log is {job.paths.stderr}"
        )
    return returned


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
