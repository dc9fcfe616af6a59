"""Checks the values of a prediction that was read from a file, which people and other programs write too.

A value of the wrong type would end in a wrong score or in a stack trace, far from the line that holds it.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from sg.artefacts.answers import LETTERS, OFFICIAL_LETTERS, read_letter
from sg.core.errors import DataError

_LARGEST = 2**53
"""No count or number of a prediction is as large; JSON holds integers of any length."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_number(value: Any) -> bool:
    # NaN is not smaller than anything.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


_NAME, _INTEGER = (_is_name, "a text that is not empty"), (_is_integer, "an integer")
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("question_id", "setting", "video_id", "duration", "answer", "status"), _NAME),
    **dict.fromkeys(("subtitle_lines", "subtitle_lines_cut", "num_prompt_tokens", "num_new_tokens", "batch"), _INTEGER),
    "num_options": (
        lambda value: _is_integer(value) and 2 <= value <= len(LETTERS),
        f"an integer from 2 to {len(LETTERS)}",
    ),
    "score": (lambda value: value is None or (_is_integer(value) and -1 <= value <= 1), "1, 0, -1 or null"),
    "fps": (_is_number, "a number"),
    "frames": (_is_list_of(_is_integer), "a list of integers"),
    **dict.fromkeys(("letter_logits", "option_logprobs"), (_is_list_of(_is_number), "a list of numbers")),
}
"""By field a check and what it expects; all other fields are texts."""
_TEXT = (_is_text, "a text")


def checked_values(data: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The fields of a prediction in `data`, lists as tuples. Errors name `origin`.

    A letter that is null or absent is read from the response by the official rule.

    Raises:
        DataError: a value has another type, `answer` or `letter` is not one of the letters of the options, or a row
            with status "ok" has neither a letter nor a response.
    """
    values = dict(data)
    if values.get("letter") is None:
        values.pop("letter", None)
    for name, value in values.items():
        check, expected = _KINDS.get(name, _TEXT)
        if not check(value):
            raise DataError(f"{origin} has {reprlib.repr(value)} as {name!r}, expected {expected}.")
    letters = LETTERS[: values.get("num_options", len(OFFICIAL_LETTERS))]
    if "letter" not in values:
        values["letter"] = _letter_of_response(values, letters, origin)
    for name in ("letter_logits", "option_logprobs"):
        if len(values.get(name, ())) not in (0, len(letters)):
            raise DataError(
                f"{origin} has {len(values[name])} numbers as {name!r}, expected none or one per option "
                f"(num_options is {len(letters)})."
            )
    # The rules that give a score may read a letter that the question does not have: a wrong answer.
    readable = letters if values.get("score") is None else LETTERS
    for name, allowed in (("answer", (*letters,)), ("letter", (*readable, ""))):
        if values[name] not in allowed:
            more = ' or "" for no answer' if name == "letter" else ""
            raise DataError(
                f"{origin} has {reprlib.repr(values[name])} as {name!r}, expected one of {', '.join(letters)}{more} "
                f"(num_options is {len(letters)})."
            )
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _letter_of_response(values: Mapping[str, Any], letters: str, origin: str) -> str:
    if values.get("status", "ok") != "ok":
        return ""
    if "response" not in values or values.get("option_order"):
        raise DataError(f"{origin} has no 'letter', and no 'response' that it could be read from: add one of them.")
    return read_letter(values["response"], letters)
