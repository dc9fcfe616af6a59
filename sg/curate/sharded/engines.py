"""What runs the jobs of a map over shards: this process, or a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from sg.core.errors import ConfigError, SgError

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Engine(Protocol):
    """Runs jobs; answers come in the order of the jobs."""

    def map(self, act: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[Answer]:
        """Yield `act(job)` for each job."""
        ...


class LocalEngine:
    """One job after another, in this process."""

    def map(self, act: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[Answer]:
        """`act` of each of `jobs`."""
        return map(act, jobs)


class RayEngine:
    """Jobs as Ray tasks. Ray repeats the jobs of a lost worker; this is safe, because jobs write files atomically."""

    def __init__(self, gpus_per_job: float) -> None:
        self._gpus = gpus_per_job

    def map(self, act: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[Answer]:
        """`act` of each of `jobs`."""
        import ray

        task: Any = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=3)(act)
        for answer in [task.remote(job) for job in jobs]:
            try:
                yield ray.get(answer)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, SgError):  # one sentence for the user instead of the worker's stack trace
                    raise error.cause from None
                raise


@contextlib.contextmanager
def open_engine(name: str, gpus_per_job: float = 0.0) -> Iterator[Engine]:
    """The engine called `name`, for the duration of the block.

    If Ray is not connected yet, the block connects to the cluster at RAY_ADDRESS or starts one on this machine.

    Raises:
        ConfigError: Ray is requested but not installed.
    """
    if name == "local":
        yield LocalEngine()
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "curator.engine=ray needs Ray: `pip install -e '.[ray]'`, or use curator.engine=local."
        ) from error
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(logging_level=logging.WARNING, log_to_driver=False, include_dashboard=False)
    try:
        yield RayEngine(gpus_per_job)
    finally:
        if is_ours:
            ray.shutdown()
