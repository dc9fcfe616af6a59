"""Which part of its video a caption is about, where a caption file has columns of times or frames for it.

A caption of seconds 0 to 5 is not one of the whole file. `data=folder` takes it where the file is as long as the part.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sg.sources.scan.timestamps import parse_range_ms

_SLACK_S, _SLACK = 1.0, 0.1
_UNITS = (
    ("(?:ms|msecs?|millis|milliseconds?)", 1e-3),
    ("(?:us|microseconds?)", 1e-6),
    ("(?:ns|nanoseconds?)", 1e-9),
    ("(?:mins?|minutes?)", 60.0),
)
"""Units in names of columns other than seconds, and their seconds."""
_WORD = (
    "(?:clip|timestamp|timecode|time|stamp|segment|seg|scene|shot|event|frames?|video|caption|position|offset|at|t|"
    "index|idx|point|mark|pts|trim|cut|of|the|"
    f"seconds?|secs?|s|{'|'.join(name for name, _ in _UNITS)})"
)
"""Words in names of columns of times, beside those for start, end and length: of what, and in which unit."""
_STARTS = "starts?|begins?|beg|from|onset|first|min|in|st"
_NEEDS_END = ("from", "in", "st", "first", "min")
"""Words that mean a start only beside their counterpart."""
_START = re.compile(rf"(?P<before>{_WORD}*?)(?P<word>{_STARTS})(?P<after>{_WORD}*)")
_ENDS = ("end", "ends", "stop", "stops", "until", "till", "finish", "last", "to", "offset", "out", "max", "ed")
_CERTAIN_END = re.compile(rf"{_WORD}*?(?:{'|'.join(_ENDS[:8])}){_WORD}*")
_LENGTH = re.compile(
    rf"(?P<before>{_WORD}*?)(?:duration|dur|length|len|num(?=frames)|nb?(?=frames)|frames?count)(?P<after>{_WORD}*)"
)
_RANGE = re.compile(
    rf".*?(?:time|timestamp|segment|span|window|interval|moment)s?{_WORD}*|{_WORD}*?(?:seg|clip|range|bounds|startend)s?{_WORD}*"
)
_MAX_NAME = 60
_UNREADABLE = "a time range that cannot be read"
_UNKNOWN = object()
_PAIR = re.compile(
    r"\s*[\[(]?\s*([0-9:.]+)\s*(?:s|secs?|seconds)?\s*(?:-->|-|–|,|;|to|~|_|\s)\s*"
    r"([0-9:.]+)\s*(?:s|secs?|seconds)?\s*[\])]?\s*"
)
_NOTHING = ("", "nan", "none", "null", "nat", "na", "n/a", "<na>")


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A part of a video: `text` for people, and its length where the values give one."""

    text: str
    duration_s: float | None = None
    num_frames: int | None = None

    def is_whole(self, duration_s: float, num_frames: int) -> bool:
        """Whether a file of this length can be the part: within one second (or frame) plus a tenth of the part."""
        if self.duration_s is not None:
            return is_as_long(self.duration_s, duration_s)
        return self.num_frames is None or is_as_long(self.num_frames, num_frames)


def is_as_long(wanted: float, found: float) -> bool:
    """Whether two lengths agree, in seconds: within one second plus a tenth of the first."""
    return abs(found - wanted) <= _SLACK_S + _SLACK * wanted


def part_of(row: Mapping[str, Any]) -> VideoPart | str | None:
    """The part that a row of a caption file is about; None for the whole video; a text for several parts at once."""
    for start, end in _part_columns(tuple(row)):
        found = _of_value(row[start]) if start == end else _of_pair(row[start], row.get(end, _UNKNOWN), start, end)
        if found is not None:
            return found
    return None


@lru_cache(maxsize=256)
def _part_columns(columns: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The columns of start and end, such as `time_start` and `time_end`; twice the same one if it may hold both."""
    names = {_plain(column): column for column in columns}
    found: list[tuple[str, str]] = []
    for name, column in names.items():
        if name != "min" and (start := _START.fullmatch(name)):
            ends = [f"{start['before']}{word}{start['after']}" for word in _ENDS]
            known = [(column, names[end]) for end in ends if end in names]
            if not known and start["word"] not in _NEEDS_END:
                others = [names[end] for kind in (_CERTAIN_END, _LENGTH) for end in names if kind.fullmatch(end)]
                known = [(column, other) for other in [*others, ""][:1]]
            found += known
    return (*found, *((column, column) for name, column in names.items() if _RANGE.fullmatch(name)))


def _plain(column: object) -> str:
    text = str(column)[:_MAX_NAME].casefold()
    if found := re.fullmatch(r"t_?([01se])|([se])", text):
        return "st" if (found[1] or found[2]) in "0s" else "ed"
    return re.sub(r"[^a-z]", "", text)


def _scale(found: re.Match[str]) -> float:
    """Seconds of the unit in the name of a column; 1 where it has none."""
    words = re.findall(_WORD, found["before"]) + re.findall(_WORD, found["after"])
    return next((scale for name, scale in _UNITS if any(re.fullmatch(name, word) for word in words)), 1.0)


def _of_pair(first: Any, last: Any, column: str, end: str = "") -> VideoPart | str | None:
    """The part between two values; None where they are those of nothing, such as 0 and 0, or -1 for the end.

    The column `end` may also hold the length of the part, or of the file.
    """
    start = None if _is_nothing(first) else first
    if last is _UNKNOWN:
        return None if start is None else VideoPart(f"{start}")
    is_zero = last in (0, "0", "0.0") and (start is None or start in (0, "0", "0.0"))
    if is_zero or _is_nothing(last) or str(last).lstrip().startswith("-"):
        return None
    length = _LENGTH.fullmatch(_plain(end))
    if length:
        start = 0
    name, text = _plain(column), f"{first or 0} to {last}"
    column_of_unit = length or _START.fullmatch(name)
    scale = _scale(column_of_unit) if column_of_unit else 1.0
    start, last = _with_point(start), _with_point(last)
    try:
        if "frame" in name or "idx" in name or "index" in name:
            return VideoPart(text, num_frames=int(float(last)) - int(float(start or 0)))
        if scale != 1:
            return VideoPart(text, duration_s=(float(last) - float(start or 0)) * scale)
    except (TypeError, ValueError, OverflowError):
        return _UNREADABLE
    span = parse_range_ms(start or 0, last)
    return VideoPart(text, duration_s=(span[1] - span[0]) / 1000) if span else _UNREADABLE


def _is_nothing(value: Any) -> bool:
    return value != value or str("" if value is None else value).strip().casefold() in _NOTHING


def _with_point(value: Any) -> Any:
    """`1,5` of a spreadsheet as `1.5`."""
    return re.sub(r"^(\s*\d+),(\d+\s*)$", r"\1.\2", value) if isinstance(value, str) else value


def _of_value(value: Any) -> VideoPart | str | None:
    """The part that one value holds, such as `[0.5, 3]` or `00:01-00:05`."""
    if isinstance(value, str):
        if pair := _PAIR.fullmatch(value):
            value = list(pair.groups())
        else:
            try:
                value = ast.literal_eval(value) if value.lstrip()[:1] in "[({" and len(value) < 10_000 else None
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return None
    if isinstance(value, Mapping):
        return part_of(value)
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        return None
    values = list(value)
    if len(values) > 1 and all(isinstance(one, (list, tuple)) for one in values):
        return f"captions of {len(values)} time ranges in one row"
    if len(values) == 1 and isinstance(values[0], (list, tuple)):
        values = list(values[0])
    return _of_pair(values[0], values[1], "time") if len(values) == 2 else None
