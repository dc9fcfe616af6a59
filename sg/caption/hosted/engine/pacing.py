"""Pacing: limits of requests, tokens and USD per window of time, counted as the provider counts them.

Each limit holds in every window of its length, wherever the window starts: a sliding log decides. An even spacing keeps
a burst from using up a minute in its first second.

The provider counts a request when it arrives, which is later than it leaves, by a delay that varies. Two requests that
leave 60 s apart may therefore arrive less than 60 s apart. So a request counts from the latest moment at which it can
have arrived: from its answer, or from `EDGE_S` after it left if that is earlier.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

EDGE_S = 3.0
"""Seconds after which a request has arrived, if its answer takes longer."""
_BURST_S = 1.0
"""Seconds by which requests may run ahead of the even spacing."""


@dataclass(slots=True)
class _WindowEntry:
    arrived_by: float
    amount: float
    inside: bool = True


class Window:
    """At most `limit` in any `seconds`; amounts may be corrected after they were counted.

    The sum of the log is kept up to date, so that no query has to pass over the log.
    """

    def __init__(self, name: str, limit: float, seconds: float, edge_s: float = EDGE_S) -> None:
        self.name, self.limit, self.seconds, self._edge_s = name, limit, seconds, edge_s
        self._log: deque[_WindowEntry] = deque()
        self._sum = 0.0
        self._even_from = 0.0

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may leave; one that is larger than the limit waits until the window is empty."""
        self._forget(now)
        spacing = max(self._even_from - _BURST_S - now, 0.0)
        if self._sum + amount <= self.limit or not self._log:
            return spacing
        freed, needed = 0.0, self._sum + amount - self.limit
        for entry in self._log:
            freed += entry.amount
            if freed >= needed:
                return max(entry.arrived_by + self.seconds - now, spacing, 0.001)
        return max(self._log[-1].arrived_by + self.seconds - now, spacing, 0.001)

    def count(self, amount: float, now: float) -> _WindowEntry:
        """Count an amount that leaves now."""
        entry = _WindowEntry(now + self._edge_s, amount)
        self._log.append(entry)
        self._sum += amount
        self._even_from = max(self._even_from, now) + amount * self.seconds / self.limit
        return entry

    def answered(self, entry: _WindowEntry, now: float) -> None:
        """The request has an answer, so it has arrived by now: its window starts no later."""
        entry.arrived_by = min(entry.arrived_by, now)

    def correct(self, entry: _WindowEntry, amount: float) -> None:
        """Replace the expected amount of a request by its actual amount."""
        if entry.inside:
            self._sum += amount - entry.amount
        self._even_from += (amount - entry.amount) * self.seconds / self.limit
        entry.amount = amount

    def _forget(self, now: float) -> None:
        while self._log and self._log[0].arrived_by + self.seconds <= now:
            entry = self._log.popleft()
            self._sum -= entry.amount
            entry.inside = False
        if not self._log:
            self._sum = 0.0  # removes accumulated rounding errors


@dataclass(slots=True)
class Reservation:
    """The entries of one request in all windows; settle it with the actual numbers."""

    entries: list[tuple[Window, _WindowEntry, str]]

    def settle(self, tokens: float, usd: float) -> None:
        """Count the actual tokens and USD of the request."""
        now = time.monotonic()
        for window, entry, kind in self.entries:
            window.answered(entry, now)
            if kind != "requests":
                window.correct(entry, tokens if kind == "tokens" else usd)


class Pacer:
    """Lets requests leave one after the other, when every limit allows it; `say` prints long waits."""

    def __init__(
        self,
        *,
        rpm: float | None,
        tpm: float | None,
        usd_per_10_min: float | None,
        minute_s: float = 60.0,
        edge_s: float = EDGE_S,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        wanted = (("requests", rpm, minute_s), ("tokens", tpm, minute_s), ("usd", usd_per_10_min, 10 * minute_s))
        self._windows = {kind: Window(kind, limit, s, edge_s) for kind, limit, s in wanted if limit is not None}
        self._paused_until = 0.0
        self._turn = asyncio.Lock()
        self._say = say

    def remember(self, age_s: float, tokens: float, usd: float) -> None:
        """Count a request that an earlier process sent `age_s` seconds ago."""
        for kind, window in self._windows.items():
            window.count(_amount(kind, tokens, usd), time.monotonic() - age_s)

    def pause(self, seconds: float) -> None:
        """Let no request leave for this long."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    async def leave(self, tokens: float, usd: float) -> Reservation:
        """Wait for this request's turn and count it."""
        async with self._turn:
            while (wait := self._wait(tokens, usd))[0] > 0:
                if wait[0] > 15:
                    until = time.strftime("%H:%M:%S", time.localtime(time.time() + wait[0]))
                    self._say(f"waiting until {until} for {wait[1]}")
                await asyncio.sleep(wait[0])
            now = time.monotonic()
            return Reservation(
                [(w, w.count(_amount(kind, tokens, usd), now), kind) for kind, w in self._windows.items()]
            )

    def _wait(self, tokens: float, usd: float) -> tuple[float, str]:
        now = time.monotonic()
        waits = [(self._paused_until - now, "the pause that the service asked for")]
        names = {
            "requests": "requests per minute",
            "tokens": "tokens per minute",
            "usd": "the spend limit of 10 minutes",
        }
        waits += [(w.wait_s(_amount(kind, tokens, usd), now), names[kind]) for kind, w in self._windows.items()]
        return max(waits)


def _amount(kind: str, tokens: float, usd: float) -> float:
    return {"requests": 1.0, "tokens": tokens, "usd": usd}[kind]


class Concurrency:
    """The number of requests in flight: additive increase, multiplicative decrease.

    The limit grows by 1 after a full round of successes, and shrinks to 0.7 of itself on quota and server errors.
    """

    def __init__(self, lowest: int, highest: int, start: int = 8) -> None:
        self._lowest, self._highest = lowest, highest
        self.limit = float(min(max(start, lowest), highest))
        self.in_flight = 0
        self._good = 0
        self._shrunk = 0.0
        self._free = asyncio.Condition()

    async def enter(self) -> None:
        """Wait until another request may be in flight."""
        async with self._free:
            await self._free.wait_for(lambda: self.in_flight < int(self.limit))
            self.in_flight += 1

    async def leave(self, *, good: bool, overloaded: bool, took_s: float) -> None:
        """End a request that took `took_s` seconds, with its outcome."""
        now = time.monotonic()
        self.in_flight -= 1
        # At most one decrease per round trip: errors of requests that left before the last decrease say nothing
        # about the new limit.
        if overloaded and now - self._shrunk > took_s:
            self.limit, self._shrunk, self._good = max(self.limit * 0.7, self._lowest), now, 0
        elif good:
            self._good += 1
            if self._good >= self.limit:
                self.limit, self._good = min(self.limit + 1, self._highest), 0
        async with self._free:
            self._free.notify_all()


class CircuitBreaker:
    """Holds requests back while more than half of the last 50 answers are server errors."""

    def __init__(self, pause_s: float = 15.0, longest_s: float = 300.0) -> None:
        self._last: deque[bool] = deque(maxlen=50)
        self._first_pause = self._pause_s = pause_s
        self._longest_s = longest_s
        self._probing = asyncio.Lock()
        self.open_until = 0.0

    async def enter(self) -> None:
        """Wait while the breaker is open; afterwards one request tries the service before the others follow."""
        while self._is_open():
            async with self._probing:
                if not self._is_open():
                    return
                await asyncio.sleep(max(self.open_until - time.monotonic(), 0))
                self._last.clear()
                return

    def note(self, ok: bool) -> float:
        """Count an answer; returns the length in seconds of the pause that starts with it, else 0."""
        self._last.append(ok)
        if ok:
            self._pause_s = self._first_pause
        if len(self._last) == 50 and sum(self._last) < 25 and time.monotonic() >= self.open_until:
            self.open_until = time.monotonic() + self._pause_s
            begun, self._pause_s = self._pause_s, min(self._pause_s * 2, self._longest_s)
            return begun
        return 0.0

    def _is_open(self) -> bool:
        return len(self._last) == 50 and sum(self._last) < 25
