"""The time of a GPU of one's own, divided among the requests that it works on at the same time."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class GpuShare:
    """GPU-seconds of one request, known when it has ended."""

    seconds: float = 0.0


class GpuTime:
    """Counts the seconds in which `gpus` devices have at least one request. The shares of all requests sum to them."""

    def __init__(self, gpus: int = 1) -> None:
        self.gpus, self.in_flight = gpus, 0
        self._per_request, self._since = 0.0, 0.0

    @contextlib.contextmanager
    def share(self) -> Iterator[GpuShare]:
        """The share of a request that is in flight inside of this block."""
        self._advance()
        self.in_flight += 1
        share, start = GpuShare(), self._per_request
        try:
            yield share
        finally:
            self._advance()
            self.in_flight -= 1
            share.seconds = (self._per_request - start) * self.gpus

    def _advance(self) -> None:
        now = time.monotonic()
        if self.in_flight:
            self._per_request += (now - self._since) / self.in_flight
        self._since = now
