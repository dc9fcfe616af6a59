"""Workers survive native decoders that block, crash or fail."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sg.core.errors import DataError
from sg.video.frames import UnreadableVideoError
from sg.video.workers import KillableWorker, WorkerPool


def work(job: int | str) -> int | str:
    if job == "hang":
        time.sleep(60)
    if job == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if job == "refuse":
        raise UnreadableVideoError("corrupt", "broken")
    if job == "wrong":
        raise DataError("wrong data")
    if job == "bug":
        raise ZeroDivisionError("a bug")
    return job


def ended_once(marker: Path, number: int) -> int:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), number)
    return number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_a_call_whose_process_is_ended_from_outside_is_repeated(tmp_path: Path, number: int) -> None:
    worker = KillableWorker()
    assert worker.call(ended_once, tmp_path / "marker", number, timeout_s=20) == number
    worker.close()


def ended_always() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_process_that_is_ended_again_and_again_or_before_it_has_its_call_is_no_trace() -> None:
    worker = KillableWorker()
    with pytest.raises(UnreadableVideoError, match="ended from outside 4 times"):
        worker.call(ended_always, timeout_s=20)
    worker._start()
    os.kill(worker._process.pid, signal.SIGTERM)
    assert len(worker.call(bytes, 5_000_000, timeout_s=20)) == 5_000_000
    worker.close()


def test_results_are_in_the_order_of_the_jobs_and_failures_are_results() -> None:
    jobs = [0, "refuse", 1, "hang", 2, "crash", 3, "wrong", *range(4, 40)]
    with WorkerPool(work, num_workers=2, timeout_s=5) as pool:
        found = list(pool.map(jobs))

    assert [job for job, _ in found] == jobs
    outcomes = dict(found)
    assert all(outcomes[job] == job for job in jobs if isinstance(job, int))
    classes = {job: getattr(outcomes[job], "status", None) for job in ("refuse", "hang", "crash", "wrong")}
    assert classes == {"refuse": "corrupt", "hang": "timeout", "crash": "crashed", "wrong": None}
    assert "SIGSEGV" in str(outcomes["crash"])
    assert isinstance(outcomes["wrong"], DataError)


def test_a_bug_is_raised_with_its_trace_and_ends_the_workers() -> None:
    pool = WorkerPool(work, num_workers=2, timeout_s=10)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug"), pool:
        list(pool.map(["bug", *range(10)]))
    assert all(worker._process is None for worker in pool._workers)


def test_few_jobs_are_taken_ahead() -> None:
    taken = []

    def jobs() -> Iterator[int]:
        for job in range(10_000):
            taken.append(job)
            yield job

    with WorkerPool(work, num_workers=1, timeout_s=10) as pool:
        results = pool.map(jobs())
        for _ in range(5):
            next(results)
    assert len(taken) < 50


def test_a_killed_worker_is_started_again() -> None:
    worker = KillableWorker()
    with pytest.raises(UnreadableVideoError, match=r"more than 0\.5 s"):
        worker.call(work, "hang", timeout_s=0.5)
    assert worker.call(work, 7, timeout_s=20) == 7
    worker.close()
