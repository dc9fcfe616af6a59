"""Readers of the JSON that services send: null, a wrong type or an absurd number is a missing value, never an error."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sg.caption.hosted.services.secrets import REDACTION

MAX_TOKENS = 2**22
"""No model has a context of 4 M tokens. What one request can have is much less: see `Recipe.believed`."""
_MAX_NAME = 300


def document(data: str | bytes) -> Any:
    """The parsed JSON; ValueError if the data is not JSON, or it is nested too deeply to be read."""
    try:
        return json.loads(data.removeprefix("\ufeff") if isinstance(data, str) else data)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def mapping(value: Any) -> Mapping[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """The array, or an empty one."""
    return value if isinstance(value, list) else ()


def first(value: Any) -> Mapping[str, Any]:
    """The first object of an array, or an empty one."""
    return next((element for element in items(value) if isinstance(element, Mapping)), {})


def text(value: Any) -> str:
    """The string, or an empty one; other scalars, such as a number as an id, are written as text."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def name(value: Any) -> str:
    """A short text, such as the name of a state or a model: at most 300 characters, without keys."""
    return REDACTION.clean(text(value)[: 10 * _MAX_NAME])[:_MAX_NAME]


def count(value: Any, largest: int = MAX_TOKENS) -> int | None:
    """A number of tokens or bytes, also as text ("1250"); None unless it is from 0 to `largest`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= largest else None
