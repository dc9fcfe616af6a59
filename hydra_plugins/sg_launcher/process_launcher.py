"""`launcher=process`: every job of a sweep is a child process, several at a time.

A crash ends only its own job, memory is freed between jobs, and a job with several devices starts one process for each,
so that DDP works inside a multirun. A job whose result exists ends within seconds.
"""

import logging
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sg.core.errors import ConfigError

if TYPE_CHECKING:
    from sg.study.sweep import PlannedRun

# Hydra imports this file at every start of every command, so what only a sweep needs is imported by its launch.

log = logging.getLogger(__name__)


@dataclass
class ProcessLauncherConf:
    """Settings of the launcher.

    `num_jobs`: children at a time; null takes one per `trainer.num_threads` cores, or one if a GPU is used.
    """

    _target_: str = "hydra_plugins.sg_launcher.process_launcher.ProcessLauncher"
    num_jobs: int | None = None


ConfigStore.instance().store(group="hydra/launcher", name="process", node=ProcessLauncherConf, provider="sharegemini")


class ProcessLauncher(Launcher):
    """Runs each job as `python train.py <overrides> hydra.mode=RUN`, and prefixes its output with the run's name."""

    def __init__(self, num_jobs: int | None = None) -> None:
        if num_jobs is not None and num_jobs < 1:
            raise ConfigError(f"hydra.launcher.num_jobs={num_jobs} should be at least 1, or null.")
        self.num_jobs = num_jobs
        self.config: DictConfig
        self.hydra_context: HydraContext
        self._children: list[subprocess.Popen[str]] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's hook: store what is needed to compose the configs of the jobs."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, at most `num_jobs` at a time and then the longest first; return how each ended, as listed."""
        from sg.study.sweep import longest_first, planned_run

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        configs = [self.hydra_context.config_loader.load_sweep_config(self.config, list(job)) for job in job_overrides]
        runs = [planned_run(config, list(job)) for config, job in zip(configs, job_overrides, strict=True)]
        num_jobs = self.num_jobs or self._free_jobs(configs)
        log.info("%d runs, %d at a time", len(runs), num_jobs)
        order = longest_first(configs) if num_jobs > 1 else list(range(len(runs)))
        pool = ThreadPoolExecutor(num_jobs)
        try:
            ended = pool.map(self._run, [runs[place] for place in order], [configs[place] for place in order])
            return [job for _, job in sorted(zip(order, ended, strict=True), key=lambda pair: pair[0])]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            self._stop_children()
            raise
        finally:
            pool.shutdown()

    @staticmethod
    def _free_jobs(configs: Sequence[DictConfig]) -> int:
        if any(config.trainer.accelerator != "cpu" for config in configs):
            return 1
        threads = max(int(config.trainer.num_threads) * int(config.trainer.devices) for config in configs)
        return max(1, min(len(configs), len(os.sched_getaffinity(0)) // threads))

    def _run(self, run: "PlannedRun", config: DictConfig) -> JobReturn:
        from sg.core.errors import JobTerminatedError, SgError
        from sg.study.devices import is_termination
        from sg.study.sweep import has_result, note_failure

        job = JobReturn(overrides=run.overrides, working_dir=str(run.folder), task_name=config.hydra.job.name)
        code = self._run_child(run, config)
        is_complete = code == 0 and has_result(run)
        job.status = JobStatus.COMPLETED if is_complete else JobStatus.FAILED
        if not is_complete:
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            reason = note_failure(run, config, how if code else "it ended without a result")
            failed = f"Run {run.name} failed ({reason}); its log is {run.folder / 'job.log'}."
            if is_termination(code):
                failed = f"Run {run.name} was ended by SIGTERM: run the same command again to resume."
            job.return_value = (JobTerminatedError if is_termination(code) else SgError)(failed)
        return job

    def _command(self, run: "PlannedRun") -> list[str]:
        from sg.study.devices import job_command

        return job_command(self.config.hydra, run.overrides, run.folder)

    def _run_child(self, run: "PlannedRun", config: DictConfig) -> int:
        from sg.train.processes import die_with_parent

        run.folder.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        environment |= {"OMP_NUM_THREADS": str(config.trainer.num_threads), "PYTHONUNBUFFERED": "1"}
        with (run.folder / "job.log").open("a", encoding="utf-8") as job_log:
            child = subprocess.Popen(
                self._command(run),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environment,
                preexec_fn=die_with_parent,
            )
            self._children.append(child)
            assert child.stdout is not None
            self._show(run.name, child.stdout, job_log)
            return child.wait()

    @staticmethod
    def _show(name: str, lines: IO[str], job_log: IO[str]) -> None:
        for line in lines:
            job_log.write(line)
            job_log.flush()
            if line.strip():
                print(f"[{name}] {line.rstrip()}", flush=True)

    def _stop_children(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            child.wait()
