"""Killable processes that decode videos: native decoders block and crash, and no Python timeout can stop them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sg.core.errors import SgError
from sg.video.frames import CRASHED, TIMEOUT, UnreadableVideoError

Job = TypeVar("Job")
Result = TypeVar("Result")

LOOKAHEAD = 8
"""Results of later jobs that may wait for an earlier job, per worker."""
_START_S = 600.0
"""Seconds that a new process may take for its imports; the time of a job is measured from then on."""
_BEGUN = ("begun", None)
_FROM_OUTSIDE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What Slurm, a service manager or a terminal sends to every process of a job: no video is to blame for them."""
_TRIES = 4
"""Calls in a row whose child is ended from outside before the call fails."""
_starting = threading.Lock()
"""Python's list of child processes is not made for threads that start and end them at the same time."""


class _EndedFromOutsideError(Exception):
    """A signal from outside ended the child."""


class KillableWorker:
    """One child process that runs functions, one call at a time. After a kill the next call starts a new one."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None
        self._function: Callable[..., Any] | None = None
        """What the child runs if no other function is sent: functions may hold much, such as a tokenizer."""

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a call; both the function and its arguments must be picklable."""
        if self._process is None or not self._process.is_alive():
            self._start()
        with contextlib.suppress(OSError):  # the child is dead: `receive` says how it ended
            self.pipe.send((None if function is self._function else function, arguments))
        self._function = function

    def receive(self) -> tuple[bool, Any]:
        """The next message of the call: (False, None) when the child begins it, (True, result) when it is over.

        Raises:
            UnreadableVideoError: the process died (status `crashed`).
            _EndedFromOutsideError: a signal that no video causes ended the process.
            SgError: the call raised it.
            RuntimeError: the call raised another error; the message holds its trace.
        """
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            code = self._end()
            if code in [-number for number in _FROM_OUTSIDE]:
                raise _EndedFromOutsideError from None
            raise UnreadableVideoError(CRASHED, f"the process that read the video died ({_exit_name(code)})") from None
        if kind == "error":
            raise value if isinstance(value, SgError) else RuntimeError(value)
        return kind == "result", value

    def call(self, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Any:
        """Run `function(*arguments)` in the child, which is killed after `timeout_s` (status `timeout`).

        A call whose child is ended from outside is repeated. If the signal was for this process too, its own handler
        ends the wait.
        """
        for _ in range(_TRIES):
            with contextlib.suppress(_EndedFromOutsideError):
                return self._call(function, *arguments, timeout_s=timeout_s)
        raise UnreadableVideoError(CRASHED, f"the process that read the video was ended from outside {_TRIES} times")

    def _call(self, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Any:
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

    def interrupt(self) -> None:
        """End the child, from another thread than that of the call, which then sees a crash."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Ask an idle child to end; kill it where it does not."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self.pipe.send(None)
            with _starting:
                self._process.join(1)
            self.kill()

    def _start(self) -> None:
        self._end()
        # Spawned: a fork copies the locks of the threads of decoders and torch, but not the threads, and may block.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _starting:
            process.start()
        self._process, self._function = process, None
        theirs.close()

    def _end(self) -> int | None:
        if self._process is None:
            return None
        with _starting:
            self._process.join(5)
            code: int | None = self._process.exitcode
        self.pipe.close()
        self._process = self._pipe = None
        return code


class WorkerPool(Generic[Job, Result]):
    """Runs one function over many jobs in `num_workers` killable processes, at most `timeout_s` seconds per job.

    With no workers, the jobs run in a thread of this process, without a limit.
    """

    def __init__(self, function: Callable[[Job], Result], num_workers: int, timeout_s: float) -> None:
        self._function = function
        self._timeout_s = timeout_s
        self._workers = [KillableWorker() for _ in range(num_workers)]
        self._idle: queue.SimpleQueue[KillableWorker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(max(1, num_workers))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._idle.qsize() < len(self._workers):
            for worker in self._workers:
                worker.interrupt()
            time.sleep(0.02)
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    def submit(self, job: Job) -> Future[Result | SgError]:
        """Begin a job when a worker is free; its result is what the function returns, or the SgError that it raised.

        The result of a job that blocks or crashes its process is an UnreadableVideoError, and the other jobs continue.
        An error that is not an SgError is a bug; asking for the result raises it.
        """
        return self._threads.submit(self._run, job)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | SgError]]:
        """Yield each job with its result (see `submit`), in the order of the jobs.

        Only a few jobs are taken ahead, so that `jobs` may be endless and results do not fill the memory while a slow
        job holds them back.
        """
        order: deque[tuple[Job, Future[Result | SgError]]] = deque()
        for job in jobs:
            order.append((job, self.submit(job)))
            while len(order) >= LOOKAHEAD * max(1, len(self._workers)) or (order and order[0][1].done()):
                first, future = order.popleft()
                yield first, future.result()
        for first, future in order:
            yield first, future.result()

    def _run(self, job: Job) -> Result | SgError:
        worker = self._idle.get() if self._workers else None
        try:
            if worker is None:
                return self._function(job)
            result: Result = worker.call(self._function, job, timeout_s=self._timeout_s)
            return result
        except SgError as error:
            return error
        finally:
            if worker is not None:
                self._idle.put(worker)


def _late(limit_s: float) -> UnreadableVideoError:
    return UnreadableVideoError(TIMEOUT, f"reading the video took more than {limit_s:g} s and was ended")


def _exit_name(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(pipe: Connection) -> None:
    """The child process: run calls until the pipe closes. It ignores Ctrl-C; the parent ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"  # the pool has one worker per core: more threads would compete for the cores
    function: Any = None
    with contextlib.suppress(EOFError, OSError, BrokenPipeError):
        while (call := pipe.recv()) is not None:
            function, arguments = call[0] or function, call[1]
            pipe.send(_BEGUN)
            try:
                answer: tuple[str, Any] = "result", function(*arguments)
            except SgError as error:
                answer = "error", error
            except Exception:  # noqa: BLE001 - reported to the parent, which raises it
                answer = "error", traceback.format_exc()
            pipe.send(answer)
