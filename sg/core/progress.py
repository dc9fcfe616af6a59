"""Progress bars with rate and remaining time: a live line on a terminal, a line every 15 seconds elsewhere."""

import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

from sg.core import status

Item = TypeVar("Item")

_TERMINAL_INTERVAL_S = 0.2
_LOG_INTERVAL_S = 15.0
_numbers = itertools.count()


def duration(seconds: float) -> str:
    """`seconds` as 1:02 or 3:01:02."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Counts completed work and shows it on standard error and in the status file of the command (`sg status`).

    On a terminal one line is redrawn. Elsewhere a line is written every 15 seconds, so short work writes nothing.
    `done_before` is work of an earlier run: it counts as done, but not in the rate. `cost_usd` is the money spent so
    far, set by work that costs any.
    """

    def __init__(
        self, label: str, total: int | None, unit: str = "items", done_before: int = 0, stream: TextIO | None = None
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.failed, self.note = done_before, 0, ""
        self.cost_usd: float | None = None
        self._number = next(_numbers)
        self._done_before = done_before
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._interval = _TERMINAL_INTERVAL_S if self._live else _LOG_INTERVAL_S
        self._started = self._shown = time.monotonic()
        self._printed = False
        self._shown_done = -1

    def __enter__(self) -> Self:
        return self

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count `count` units as done; `note` is a short text after the numbers, such as a loss or a cost."""
        self.done += count
        self.note = self.note if note is None else note
        self._show()

    def fail(self, count: int = 1) -> None:
        """Count `count` units as done and failed; the bar shows the number of failures."""
        self.failed += count
        self.advance(count)

    def _speed(self) -> tuple[float, float, float | None]:
        """Seconds taken, units per second, seconds left (None where that is unknown, or nothing is left)."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        rate = (self.done - self._done_before) / elapsed
        is_open = self.total is not None and rate > 0 and self.done < self.total
        return elapsed, rate, (self.total - self.done) / rate if is_open and self.total is not None else None

    def state(self) -> dict[str, Any]:
        """The bar as a record of the status file."""
        _, rate, left_s = self._speed()
        counts = {"done": self.done, "total": self.total, "failed": self.failed}
        speed = {"per_s": rate, "left_s": left_s, "cost_usd": self.cost_usd}
        return {"label": self.label, "unit": self.unit, **counts, **speed, "line": self.line()}

    def line(self) -> str:
        """The current text of the bar."""
        elapsed, rate, left_s = self._speed()
        parts = [f"{self.done}{'' if self.total is None else f'/{self.total}'} {self.unit}", f"{rate:.1f}/s"]
        parts.append(f"{duration(elapsed)} taken" if left_s is None else f"{duration(left_s)} left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.note:
            parts.append(self.note)
        return f"{self.label}: " + ", ".join(parts)

    def _show(self, last: bool = False) -> None:
        status.note(self._number, self.state, last)
        now = time.monotonic()
        if not last and now - self._shown < self._interval:
            return
        if last and not self._printed and now - self._started < self._interval:
            return
        self._shown, self._printed = now, True
        if self._live:
            self._stream.write(f"\r\x1b[2K{self.line()}" + ("\n" if last else ""))
        elif not (last and self._shown_done == self.done):
            self._stream.write(self.line() + "\n")
        self._shown_done = self.done
        self._stream.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(last=True)


def track(items: Iterable[Item], label: str, unit: str = "items", total: int | None = None) -> Iterator[Item]:
    """Yield `items` with a progress bar; `total` defaults to `len(items)` if `items` has a length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(label, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()
