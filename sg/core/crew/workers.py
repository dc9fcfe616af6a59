"""Work on the nodes of a Ray cluster (extra `ray`): every map that a command spreads over machines goes through here.

A crew is a number of Ray actors. Each of them makes its function once, for instance by loading a model, and then calls
it with one item after another. When an actor or its node is lost, its items are given to other actors, and a new actor
starts where the cluster has room. Nodes share nothing but addresses: see `sg.core.crew.travel`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from sg.core.crew.travel import packed, unpacked
from sg.core.errors import ConfigError, DataError, SgError
from sg.core.mistakes import check_choice

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

ENGINES = ("local", "ray")
_TRIES = 4
"""Workers that are given an item, or that die in a row while they start, before the map fails."""
_PATIENCE_S = 60
"""Seconds without any worker after which the user reads that the cluster has no room."""


def check_engine(key: str, engine: str) -> None:
    """Check the value of the setting `key`, which chooses where a map runs.

    Raises:
        ConfigError: the engine is unknown, or Ray is not installed.
    """
    check_choice(key, engine, ENGINES)
    if engine == "ray":
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"{key}=ray needs Ray ({error}): install it with `pip install -e '.[ray]'`, or use {key}=local."
            ) from error


class Map(Protocol):
    """Like Python's `map`, with one sequence."""

    def __call__(self, act: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """`act` of each item, in their order."""


@contextlib.contextmanager
def open_map(key: str, engine: str, gpus: float = 0.0) -> Iterator[Map]:
    """A `map` for functions without state: one call after another in this process, or on a crew with `gpus` each.

    Raises:
        ConfigError: see `check_engine`.
    """
    check_engine(key, engine)
    if engine == "local":
        yield map
        return
    with Crew(_Caller, gpus=gpus) as crew:
        yield lambda act, items: crew.map((act, item) for item in items)


class _Caller:
    def __call__(self, call: tuple[Callable[[Any], Any], Any]) -> Any:
        act, item = call
        return act(item)


class Crew(Generic[Item, Result]):
    """Workers on a Ray cluster: the connected one, else the one at RAY_ADDRESS, else a new one on this machine.

    There is one worker per GPU if workers take GPUs, otherwise one per CPU. A context manager.

    Args:
        make: returns the function of a worker; both `make` and the items must be picklable.
        gpus: GPUs of a worker; None gives it one if the cluster has any.
        at_once: calls that a worker gets at the same time, in threads.
    """

    def __init__(
        self, make: Callable[[], Callable[[Item], Result]], *, gpus: float | None = 0.0, at_once: int = 1
    ) -> None:
        self._make, self._gpus, self._at_once = packed(make), gpus, at_once
        self._free: queue.Queue[Any] = queue.Queue()
        """Workers that can take a call, each as often as it can take one; an exception if no worker can start."""
        self._lost: set[Any] = set()
        self._workers: set[Any] = set()
        self._lock = threading.Lock()
        self._failed_starts, self._is_closed = 0, False
        self._has_started = False
        """True when a worker has started, or when the user knows that none has."""
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._held.enter_context(_connected())
        count, resources = _shape(self._gpus)
        self.size = count * self._at_once
        """Items that are worked on at the same time when all workers have started."""
        self._threads = ThreadPoolExecutor(self.size)
        self._resources = resources
        for _ in range(count):
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._free.put(RuntimeError("the crew is closed"))
        for worker in list(self._workers):
            ray.kill(worker)
        self._threads.shutdown()
        self._held.close()

    def submit(self, item: Item) -> Future[Result]:
        """Give an item to the next free worker. An SgError of the worker is raised as such by the result."""
        return self._threads.submit(self._call, packed(item))

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """The results in the order of the items; a few items are taken ahead for each worker."""
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self.submit(item))
            while len(waiting) > 2 * self.size or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _call(self, item: bytes) -> Result:
        import ray

        tries = 0
        while True:
            worker = self._next_free()
            if isinstance(worker, BaseException):
                self._free.put(worker)  # for the other threads
                raise worker
            if worker in self._lost:
                continue
            try:
                result: Result = ray.get(worker.call.remote(item))
            except ray.exceptions.RayTaskError as error:
                self._free.put(worker)
                if isinstance(error.cause, SgError):  # one sentence for the user instead of the worker's stack trace
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                tries += 1
                self._replace(worker)
                if tries == _TRIES:
                    raise DataError(
                        f"{_TRIES} workers of the Ray cluster were lost during the same work "
                        f"({str(error).splitlines()[0]}): repeat the command, or use the local engine."
                    ) from error
                continue
            self._free.put(worker)
            return result

    def _next_free(self) -> Any:
        while True:
            try:
                return self._free.get(timeout=_PATIENCE_S)
            except queue.Empty:
                if not self._has_started:
                    self._has_started = True
                    log.warning(
                        "the Ray cluster has had no room for a worker (%s) for %d s: waiting until other work ends; "
                        "`ray status` shows it", self._resources, _PATIENCE_S,
                    )  # fmt: skip

    def _start(self) -> None:
        import ray

        actor: Any = ray.remote(CrewWorker)
        worker = actor.options(**self._resources, max_concurrency=self._at_once).remote(self._make)
        self._workers.add(worker)
        worker.ready.remote().future().add_done_callback(lambda started: self._started(worker, started))

    def _started(self, worker: Any, started: Future[None]) -> None:
        error = started.exception()
        if self._is_closed:
            return
        if error is None:
            self._failed_starts, self._has_started = 0, True
            for _ in range(self._at_once):
                self._free.put(worker)
        elif self._failed_starts < _TRIES:
            self._failed_starts += 1
            self._workers.discard(worker)
            self._start()
        else:
            self._free.put(DataError(f"No worker can start on the Ray cluster: {str(error).splitlines()[-1]}"))

    def _replace(self, worker: Any) -> None:
        """Start another worker in place of a lost one; once, although every call of the worker reports the loss."""
        import ray

        with self._lock:
            if worker in self._lost or self._is_closed:
                return
            self._lost.add(worker)
            self._workers.discard(worker)
        log.warning("a worker of the Ray cluster was lost: its work is repeated by another one")
        ray.kill(worker)
        self._start()


class CrewWorker:
    """The Ray actor. Its function is made by the first call and not before, so that errors reach the caller."""

    def __init__(self, make: bytes) -> None:
        self._make, self._lock = make, threading.Lock()
        self._function: Callable[[Any], Any] | None = None

    def ready(self) -> None:
        """Nothing: the answer shows that the worker has started."""

    def call(self, item: bytes) -> Any:
        """The result for a packed item."""
        with self._lock:
            if self._function is None:
                self._function = unpacked(self._make)()
        return self._function(unpacked(item))


def _shape(gpus: float | None) -> tuple[int, dict[str, float]]:
    """Number of workers, and what Ray reserves for each."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpus = [(node.get("CPU", 1.0), node["GPU"]) for node in nodes if node.get("GPU")]
    if gpus is None:
        gpus = 1.0 if with_gpus else 0.0
    if not gpus:
        return max(1, int(sum(node.get("CPU", 0.0) for node in nodes))), {"num_cpus": 1}
    if not with_gpus:
        raise ConfigError("The Ray cluster has no GPU, but its workers should take one.")
    cpus = max(1, min(int(cpus * gpus // count) for cpus, count in with_gpus))
    return sum(int(count // gpus) for _, count in with_gpus), {"num_cpus": cpus, "num_gpus": gpus}


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        # Without an address, Ray would join any cluster of this machine, and lose its work when that one ends.
        address = os.environ.get("RAY_ADDRESS") or "local"
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if is_ours:
            ray.shutdown()
