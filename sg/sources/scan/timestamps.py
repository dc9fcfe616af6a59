"""Parsing the time stamps of annotation files, in whole milliseconds."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

DAY_MS = 24 * 3600 * 1000
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:\.\d{1,30})?)", re.ASCII)
_ISO = re.compile(r"PT(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9}(?:\.\d{1,30})?)S)?", re.IGNORECASE | re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,2})?", re.ASCII)


def parse_time_ms(value: Any) -> int | None:
    """Milliseconds of `HH:MM:SS.mmm`, `MM:SS`, seconds (number or text) or an ISO 8601 duration; None for all else.

    Fractions are decimal, of any length. Negative times, NaN, infinities and times above 24 hours return None.

    >>> parse_time_ms("00:01:02.5"), parse_time_ms("PT00H00M17S"), parse_time_ms(1.25), parse_time_ms("-1")
    (62500, 17000, 1250, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, (int, float)):
        return _limited(Decimal(str(value))) if 0 <= value <= DAY_MS else None
    return _of_text(value)


def parse_range_ms(start: Any, end: Any) -> tuple[int, int] | None:
    """Start and end of a clip in milliseconds; None unless both are times and the end is after the start."""
    first, last = parse_time_ms(start), parse_time_ms(end)
    return (first, last) if first is not None and last is not None and first < last else None


@lru_cache(maxsize=4096)
def _of_text(value: str) -> int | None:
    text = value.strip()
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = match.groups()
        return _limited(int(hours or 0) * 3600 + int(minutes) * 60 + Decimal(seconds))
    if (match := _ISO.fullmatch(text)) and any(match.groups()):
        hours, minutes, seconds = match.groups()
        return _limited(int(hours or 0) * 3600 + int(minutes or 0) * 60 + Decimal(seconds or 0))
    return _limited(Decimal(text)) if _SECONDS.fullmatch(text) else None


def _limited(seconds: Decimal) -> int | None:
    try:
        milliseconds = int((seconds * 1000).to_integral_value())
    except (InvalidOperation, ValueError):
        return None
    return milliseconds if 0 <= milliseconds <= DAY_MS else None
