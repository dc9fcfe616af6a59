"""Tables of any kind as a list of objects: CSV, TSV, JSON, `.xlsx`."""

import ast
import csv
import io
import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.answer_files.xlsx import read_xlsx
from sg.core.errors import DataError

Row = Mapping[str, Any]
MAX_CELL = 2**27


def text_of(path: Path) -> str:
    """The text of the file at `path`, UTF-8 or with the mark of UTF-16; DataError if it is not such a text."""
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error


def parsed_json(path: Path) -> Any:
    """The JSON value in the file at `path`, in any encoding that JSON allows; DataError if it is not JSON."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise DataError(f"{path} names {reprlib.repr(twice)} twice in one object: give each answer once.")
        return found

    try:
        return json.loads(path.read_bytes(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); commas before a closing bracket are not allowed.") from error


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV, TSV or `.xlsx` file by the names of its columns, all cells as texts.

    Raises:
        DataError: the file is damaged, a column is named twice, or a row has another number of cells than the header.
    """
    is_sheet = is_xlsx(path)
    if is_sheet:
        lines = [(f"{path}, row {number},", cells) for number, cells in enumerate(read_xlsx(path), start=1)]
    else:
        lines = _delimited(path)
    lines = [(where, cells) for where, cells in lines if any(cells)]
    if not lines:
        raise DataError(f"{path} has no rows.")
    (_, header), *body = lines
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path} has two columns named {twice[0]!r}.")
    rows = []
    for where, cells in body:
        if is_sheet:  # Empty cells at the end of a row are not written.
            cells = [*cells, *[""] * (len(names) - len(cells))]
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise DataError(f"{where} has {len(cells)} cells, but the header has {len(names)}: the file is damaged.")
        rows.append(dict(zip(names, cells, strict=False)) | {"": where})
    return rows


def is_xlsx(path: Path) -> bool:
    """Whether the file begins like a zip archive."""
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


def _delimited(path: Path) -> list[tuple[str, list[str]]]:
    text = text_of(path)
    first = text.split("\n", 1)[0]
    delimiter = max("\t,;", key=first.count)
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(f"{path}, line {reader.line_num},", cells) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, cannot be read as a table ({error}).") from error


def column(row: Row, names: Sequence[str]) -> str | None:
    """The cell of the first of `names` that is a column; None if none is; DataError if it is a list or an object."""
    name = next((name for name in names if row.get(name) is not None), None)
    if name is None:
        return None
    if isinstance(row[name], (list, dict)):
        raise DataError(f"{row['']} has {reprlib.repr(row[name])} as {name!r}, expected a text.")
    return str(row[name])


def texts_in(value: Any, where: str, name: str) -> tuple[str, ...]:
    """A list of texts, also as the text of a Python or JSON list.

    Raises:
        DataError: it is not one; the message begins with `where`.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
    if (
        not isinstance(value, (list, tuple))
        or not 2 <= len(value) <= 26
        or not all(isinstance(one, str) for one in value)
    ):
        raise DataError(f"{where} has {reprlib.repr(value)} as {name!r}, expected a list of 2 to 26 texts.")
    return tuple(value)
