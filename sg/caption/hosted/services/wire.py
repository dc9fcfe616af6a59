"""Readers of the JSON that services send: null, a wrong type or an absurd number is a missing value, never an error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MAX_TOKENS = 2**22
"""No model has a context of 4 M tokens. A larger count of one request is a mistake, and would be charged as one."""


def document(data: str | bytes) -> Any:
    """The parsed JSON.

    Raises:
        ValueError: the data is not JSON, or it is nested too deeply to be read.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def mapping(value: Any) -> Mapping[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """The array, or an empty one."""
    return value if isinstance(value, list) else ()


def first(value: Any) -> Mapping[str, Any]:
    """The first element of an array of objects, or an empty object."""
    return mapping(next(iter(items(value)), None))


def text(value: Any) -> str:
    """The string, or an empty one; other scalars, such as a number as an id, are written as text."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def count(value: Any, largest: int = MAX_TOKENS) -> int | None:
    """A number of tokens or bytes, also as text ("1250"); None unless it is from 0 to `largest`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= largest else None
