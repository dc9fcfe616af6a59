"""Rows of CSV and TSV files: every row is a record or a bad record with its line, never part of another row.

Python's `csv` reads a field that begins with a quote up to the next quote, over any number of lines. A caption such as
`"Hello world` thus swallows the rows after it. A strict reader finds most of these places. A record that it refuses is
read again as one line in which quotes are ordinary characters.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self, TextIO

from sg.core.errors import DataError
from sg.sources.scan.texts import MAX_LINE, BadRecord, damage, kind_of, open_text

_MAX_RECORD_LINES = 1000
"""A quoted field with more lines is a quote that does not close."""
_DELIMITERS = (",", "\t", ";", "|")
_OPEN_QUOTE = BadRecord("a quote that may not close in its row (write a quote within a quoted field twice)")


class _Lines:
    """The lines of a file; `taken` are those of the present record, which may be put back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 1
        """Number of the first line of `taken`."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if len(self.taken) == _MAX_RECORD_LINES:
            raise StopIteration
        line = self._waiting.popleft() if self._waiting else self._stream.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.taken.append(line)
        return line

    def begin(self) -> None:
        """Begin a record after the lines of the present one."""
        self.number += len(self.taken)
        self.taken.clear()

    def keep_first(self) -> str:
        """Put all lines of the present record but the first back."""
        self._waiting.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
        return self.taken[0]

    def following(self) -> str:
        """The next line that is not blank, which stays unread; "" at the end."""
        for line in self._waiting:
            if line.strip():
                return line
        while line := self._stream.readline(MAX_LINE):
            self._waiting.append(line)
            if line.strip():
                return line
        return ""


def csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, str] | BadRecord]]:
    """Yield the rows of a CSV or TSV file by its header, with their line. All values stay text.

    Ids must not become numbers. The delimiter is the one that divides the header into most columns. Empty fields behind
    the last column are ignored, because spreadsheets write them.

    Raises:
        DataError: the header is damaged or names a column twice.
    """
    csv.field_size_limit(MAX_LINE)
    with open_text(path, newline="") as stream:
        lines = _Lines(stream)
        delimiter = _delimiter(lines, path)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header: list[str] = []
        while True:
            lines.begin()
            try:
                fields: list[str] | None = next(reader)
            except StopIteration:
                return
            except csv.Error:
                fields = None
            if fields == []:
                continue
            if not header:
                header = _header(fields or _literal(lines.keep_first(), delimiter), lines.taken, path)
                continue
            yield from _records(fields, lines, header, delimiter)


def _records(
    fields: list[str] | None, lines: _Lines, header: Sequence[str], delimiter: str
) -> Iterator[tuple[int, Mapping[str, str] | BadRecord]]:
    """Yield what the lines of one record hold; `fields` is None where the strict reader refused them."""
    if fields is not None:
        while len(fields) > len(header) and not fields[-1].strip():
            fields.pop()
    several = len(lines.taken) > 1
    if fields is not None and several and len(fields) == len(header) and _may_be_rows(fields, lines.taken, delimiter):
        # Both readings are possible, and one of them gives a video the caption of another.
        yield from ((lines.number + place, _OPEN_QUOTE) for place in range(len(lines.taken)))
        return
    if fields is None or (several and len(fields) != len(header)):
        fields = _literal(lines.keep_first(), delimiter)
        following = lines.following()
        if len(fields) == len(header) and following and not _is_row(following, len(header), delimiter):
            yield lines.number, _OPEN_QUOTE  # the next line seems to continue this one
            return
    bad = next(filter(None, map(damage, lines.taken)), None)
    if bad is None and len(fields) != len(header):
        kind = "more fields than the header" if len(fields) > len(header) else "fewer fields than the header"
        bad = BadRecord(f"{kind} ({len(fields)} instead of {len(header)})")
    yield lines.number, bad or dict(zip(header, fields, strict=True))


def _delimiter(lines: _Lines, path: Path) -> str:
    """The delimiter that divides the header best; the one of the suffix where several do. Skips Excel's `sep=;`."""
    first = lines.following()
    if first.lower().startswith("sep=") and len(first.strip()) <= 5:
        next(lines)
        return first[4:5].strip("\r\n") or "\t"
    usual = "\t" if kind_of(path) == ".tsv" else ","
    return max((usual, *_DELIMITERS), key=lambda delimiter: len(_literal(first, delimiter)))


def _header(names: list[str], taken: Sequence[str], path: Path) -> list[str]:
    if bad := next(filter(None, map(damage, taken)), None):
        raise DataError(f"{path}: the header holds {bad.reason}.")
    named = Counter(name.strip() for name in names if name.strip())
    for name, count in named.most_common(1):
        if count > 1:
            raise DataError(f"{path}: two columns are called {name!r}; rename one of them.")
    return names


def _literal(line: str, delimiter: str) -> list[str]:
    """The fields of a line in which quotes are ordinary characters; a field that is quoted as a whole loses its own."""
    fields = line.rstrip("\r\n").split(delimiter)
    return [field[1:-1] if len(field) > 1 and field[0] == field[-1] == '"' else field for field in fields]


def _is_row(line: str, num_columns: int, delimiter: str) -> bool:
    """Whether a line alone has the columns of the header, in one of the two readings."""
    if len(_literal(line, delimiter)) == num_columns:
        return True
    try:
        return len(next(csv.reader([line], delimiter=delimiter, strict=True))) == num_columns
    except csv.Error:
        return False


def _may_be_rows(fields: Sequence[str], taken: Sequence[str], delimiter: str) -> bool:
    """Whether each line of a record over several lines could be a row: enough columns, and in one of them a word.

    The column is another one than that with the line break. Names of videos are such words, parts of a caption rarely.
    """
    rows = [_literal(line, delimiter) for line in taken if line.strip()]
    if any(len(row) != len(fields) for row in rows):
        return False
    others = [place for place, field in enumerate(fields) if "\n" not in field and "\r" not in field]
    return any(all(row[place] and not row[place].split()[1:] for row in rows) for place in others)
