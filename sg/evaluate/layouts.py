"""What the readers of benchmarks share: tables as lists of objects, checked values, and the places of files."""

import logging
import reprlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.answers import LETTERS
from sg.artefacts.names import check_relative_path
from sg.core.errors import DataError
from sg.core.files import read_json

log = logging.getLogger(__name__)

MAX_OPTIONS = 10
LONGEST_S = 10**9
SHORT_S, MEDIUM_S = 120, 900
"""Upper bounds of Video-MME's duration buckets; benchmarks with durations in seconds use the same buckets."""
NO_BUCKET = "all"
"""The bucket of videos whose duration the benchmark does not say."""


def read_items(path: Path, keys: Collection[str] = ()) -> list[dict[str, Any]]:
    """The list of objects in the JSON file at `path`.

    Raises:
        DataError: it holds something else, or an object lacks one of `keys`.
    """
    items = read_json(path)
    if not isinstance(items, list):
        raise DataError(f"{path} holds a {type(items).__name__}, expected a list of questions.")
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(f"{path}, item {number}, is a {type(item).__name__}, expected an object.")
        if lacking := [key for key in keys if key not in item]:
            raise DataError(f"{path}, item {number}, has no {lacking[0]!r}: expected {', '.join(keys)}.")
    return items


def value_of(item: dict[str, Any], key: str, kind: Any, where: str) -> Any:
    """The value of `key`, which is of one of the types `kind`; True and False are not numbers.

    Raises:
        DataError: it is not; the message begins with `where`.
    """
    value = item.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = {str: "a text", int: "an integer", float: "a number", list: "a list", dict: "an object"}
        expected = " or ".join(names[one] for one in kinds)
        raise DataError(f"{where} has {reprlib.repr(value)} as {key!r}: expected {expected}.")
    return value


def is_list_of_texts(value: Any) -> bool:
    """True for a list whose members are all texts."""
    return isinstance(value, list) and all(isinstance(member, str) for member in value)


def check_options(options: Sequence[str], answer: str, where: str) -> None:
    """Check that there are 2 to 10 options with letters in order, and that the answer is one of the letters.

    Raises:
        DataError: they are not; the message begins with `where`.
    """
    letters = LETTERS[: len(options)]
    if not 2 <= len(options) <= MAX_OPTIONS or [option[:2] for option in options] != [f"{one}." for one in letters]:
        raise DataError(
            f"{where} has the options {reprlib.repr(list(options))}, expected 2 to {MAX_OPTIONS} beginning A. B. C. "
            "and so on."
        )
    if answer not in tuple(letters):
        raise DataError(f"{where} has the answer {reprlib.repr(answer)}, expected one of {', '.join(letters)}.")


def checked_seconds(value: Any, key: str, where: str) -> float:
    """A number of seconds, above 0 and below 32 years.

    Raises:
        DataError: `value` is not one; the message begins with `where`.
    """
    # NaN is not larger than 0.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < LONGEST_S:
        return float(value)
    raise DataError(f"{where} has {reprlib.repr(value)} as {key!r}, expected seconds.")


def duration_bucket(seconds: float) -> str:
    """The bucket of a duration, "short", "medium" or "long", by Video-MME's bounds."""
    return "short" if seconds < SHORT_S else "medium" if seconds < MEDIUM_S else "long"


def first_file(folder: Path, subfolders: Iterable[str], name: str) -> Path | None:
    """The file `name`, a relative path of a table, in the first of the `subfolders` of `folder` that has it, or None.

    Raises:
        DataError: the name could lead out of the folder.
    """
    check_relative_path(name)
    candidates = (folder / subfolder / name for subfolder in subfolders)
    return next((path for path in candidates if path.is_file()), None)


def files_by_stem(folder: Path, subfolders: Iterable[str], suffixes: Collection[str]) -> dict[str, Path]:
    """The files with one of `suffixes` (lower case) in the `subfolders` of `folder`, by name without suffix.

    Where several files have the same name, that of the first subfolder counts, and in a subfolder the first suffix by
    alphabet, `.mp4` before all others; the log names an example.
    """
    found: dict[str, Path] = {}
    several = []
    for subfolder in subfolders:
        place = folder / subfolder
        paths = sorted(place.iterdir()) if place.is_dir() else []
        for path in sorted(paths, key=lambda path: path.suffix.lower() != ".mp4"):
            if path.suffix.lower() in suffixes and path.is_file():
                first = found.setdefault(path.stem, path)
                several += [f"{first} and {path}"] if first != path else []
    if several:
        log.warning("%d files have the name of another one, such as %s: the first is used.", len(several), several[0])
    return found
