"""Killable processes that decode videos: native decoders block and crash, and no Python timeout can stop them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sg.core.errors import SgError
from sg.video.frames import CRASHED, TIMEOUT, UnreadableVideoError

Job = TypeVar("Job")
Result = TypeVar("Result")

_LOOKAHEAD = 8
"""Results of later jobs that may wait for an earlier job, per worker."""
_START_S = 600.0
"""Seconds that a new process may take for its imports; the time of a job is measured from then on."""
_BEGUN = ("begun", None)


class KillableWorker:
    """One child process that runs functions, one call at a time. After a kill the next call starts a new one."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a call; both the function and its arguments must be picklable."""
        if self._process is None or not self._process.is_alive():
            self._start()
        self.pipe.send((function, arguments))

    def receive(self) -> tuple[bool, Any]:
        """The next message of the call: (False, None) when the child begins it, (True, result) when it is over.

        Raises:
            UnreadableVideoError: the process died (status `crashed`).
            SgError: the call raised it.
            RuntimeError: the call raised another error; the message holds its trace.
        """
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            code = self._end()
            raise UnreadableVideoError(CRASHED, f"the process that read the video died ({_exit_name(code)})") from None
        if kind == "error":
            raise value if isinstance(value, SgError) else RuntimeError(value)
        return kind == "result", value

    def call(self, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Any:
        """Run `function(*arguments)` in the child, which is killed after `timeout_s` (status `timeout`)."""
        self.send(function, *arguments)
        over, limit_s, result = False, _START_S, None
        while not over:
            if not self.pipe.poll(limit_s):
                self.kill()
                raise _late(limit_s)
            over, result = self.receive()
            limit_s = timeout_s
        return result

    @property
    def pipe(self) -> Connection:
        """The parent's end of the pipe; it is readable when the call has begun or is over."""
        if self._pipe is None:
            raise RuntimeError("the worker was not started")
        return self._pipe

    def kill(self) -> None:
        """End the child at once."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def close(self) -> None:
        """Ask an idle child to end; kill it where it does not."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self.pipe.send(None)
            self._process.join(1)
            self.kill()

    def _start(self) -> None:
        self._end()
        # Spawned: a fork copies the locks of the threads of decoders and torch, but not the threads, and may block.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def _end(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(5)
        code: int | None = self._process.exitcode
        self.pipe.close()
        self._process = self._pipe = None
        return code


class WorkerPool(Generic[Job, Result]):
    """Runs one function over many jobs in `num_workers` killable processes, at most `timeout_s` seconds per job."""

    def __init__(self, function: Callable[[Job], Result], num_workers: int, timeout_s: float) -> None:
        self._function = function
        self._timeout_s = timeout_s
        self._workers = [KillableWorker() for _ in range(max(1, num_workers))]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.close() if kind is None else worker.kill()

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | SgError]]:
        """Yield each job with its result, or with the SgError that it raised, in the order of the jobs.

        A job that blocks or crashes its process has an UnreadableVideoError as its result, and the others continue.
        An error that is not an SgError is a bug and is raised here. Only a few jobs are taken ahead, so that `jobs` may
        be endless.
        """
        queue = iter(jobs)
        order: deque[_Task] = deque()
        running: dict[Connection, tuple[KillableWorker, _Task]] = {}
        idle = list(self._workers)
        exhausted = False
        while True:
            # Results are yielded in order, so a slow job holds back the later ones. The bound on started jobs keeps
            # their results from filling the memory meanwhile.
            while idle and not exhausted and len(order) < _LOOKAHEAD * len(self._workers):
                try:
                    task = _Task(next(queue))
                except StopIteration:
                    exhausted = True
                    break
                worker = idle.pop()
                worker.send(self._function, task.job)
                running[worker.pipe] = worker, task
                order.append(task)
            while order and order[0].done:
                task = order.popleft()
                yield task.job, task.outcome
            if not order and exhausted:
                return
            if running:
                idle += self._settle(running)

    def _settle(self, running: dict[Connection, tuple[KillableWorker, _Task]]) -> list[KillableWorker]:
        """Wait until at least one call begins, ends or exceeds its time; returns the workers that are free again."""
        now = time.monotonic()
        ready = wait(list(running), max(0.0, min(task.deadline for _, task in running.values()) - now))
        freed = []
        for pipe, (worker, task) in list(running.items()):
            if pipe in ready:
                task.hear(worker, self._timeout_s)
            elif time.monotonic() >= task.deadline:
                worker.kill()
                task.finish(_late(task.limit_s))
            if task.done:
                del running[pipe]
                freed.append(worker)
        return freed


class _Task:
    """A started job."""

    def __init__(self, job: Any) -> None:
        self.job = job
        self.done = False
        self.outcome: Any = None
        self._allow(_START_S)

    def hear(self, worker: KillableWorker, limit_s: float) -> None:
        """Take the worker's next message; after the message "begun" the job has `limit_s` seconds."""
        try:
            over, result = worker.receive()
        except SgError as error:
            over, result = True, error
        if over:
            self.finish(result)
        else:
            self._allow(limit_s)

    def finish(self, outcome: Any) -> None:
        self.done, self.outcome = True, outcome

    def _allow(self, limit_s: float) -> None:
        self.limit_s, self.deadline = limit_s, time.monotonic() + limit_s


def _late(limit_s: float) -> UnreadableVideoError:
    return UnreadableVideoError(TIMEOUT, f"reading the video took more than {limit_s:g} s and was ended")


def _exit_name(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(pipe: Connection) -> None:
    """The child process: run calls until the pipe closes. It ignores Ctrl-C; the parent ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"  # the pool has one worker per core: more threads would compete for the cores
    with contextlib.suppress(EOFError, OSError, BrokenPipeError):
        while (call := pipe.recv()) is not None:
            function, arguments = call
            pipe.send(_BEGUN)
            try:
                answer: tuple[str, Any] = "result", function(*arguments)
            except SgError as error:
                answer = "error", error
            except Exception:  # noqa: BLE001 - reported to the parent, which raises it
                answer = "error", traceback.format_exc()
            pipe.send(answer)
