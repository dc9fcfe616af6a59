"""Rows of CSV and TSV files: every row is a record or a bad record with its line, never part of another row.

Python's `csv` reads a field that begins with a quote up to the next quote, over any number of lines. A caption such as
`"Hello world` thus swallows the rows after it. A strict reader finds most of these places. The first line of a record
that it refuses is read again alone, in the styles of other programs: a quote or a delimiter behind a backslash, spaces
around a quoted field, and quotes that are ordinary characters. A file whose first or second line quotes all its fields
with `'` is read as if it used `"`.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Self, TextIO

from sg.core.errors import DataError
from sg.sources.records.broken_rows import Row, ShortRow, without_broken_rows
from sg.sources.records.columns import check_columns
from sg.sources.records.texts import MAX_LINE, BadRecord, damage, kind_of, open_text

_MAX_RECORD_LINES = 1000
"""A quoted field with more lines is a quote that does not close."""
_DELIMITERS = (",", "\t", ";", "|")
_BARE_QUOTE = re.compile(r'\\"(?!")')
"""A quote behind a backslash that is not also doubled, as in `a \\"red\\" ball`."""
_OPEN_QUOTE = BadRecord("a quote that may not close in its row (write a quote within a quoted field twice)")
_SINGLE = str.maketrans("'\"", "\"'")
_NO_NAME = re.compile(r"Unnamed: [\d.]+")


class _Lines:
    """The lines of a file; `taken` are those of the present record, which may be put back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self.is_single = False
        """Whether fields are quoted with `'`. The lines then have the two quotation marks exchanged."""
        self.taken: list[str] = []
        self.number = 1
        """Number of the first line of `taken`."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if len(self.taken) == _MAX_RECORD_LINES:
            raise StopIteration
        line = self._waiting.popleft() if self._waiting else self._read()
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
        while line := self._read():
            self._waiting.append(line)
            if line.strip():
                return line
        return ""

    def exchange_quotes(self) -> None:
        """Exchange the two quotation marks in all lines from here on."""
        self.is_single = True
        self._waiting = deque(line.translate(_SINGLE) for line in self._waiting)

    def _read(self) -> str:
        line = self._stream.readline(MAX_LINE)
        return line.translate(_SINGLE) if self.is_single else line


def csv_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV or TSV file by its header, with their line. All values stay text.

    Ids must not become numbers. The delimiter is the one that divides the header into most columns. Spaces before a
    field are ignored, and in a table of two columns also empty fields behind the last: people and programs write them.

    Raises:
        DataError: the header is damaged or names a column twice.
    """
    return without_broken_rows(_rows(path))


def _rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    with open_text(path, newline="") as stream:
        lines = _Lines(stream)
        delimiter = _delimiter(lines, path)
        if _is_in_single_quotes(lines.following(), delimiter):
            lines.exchange_quotes()
        reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
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
                header = _header(fields or _fields(lines.keep_first(), delimiter), lines.taken, path)
                if not lines.is_single and _is_in_single_quotes(lines.following(), delimiter, len(header)):
                    lines.exchange_quotes()
                continue
            for number, row in _records(fields, lines, header, delimiter):
                if lines.is_single and not isinstance(row, BadRecord):
                    row = {name: text.translate(_SINGLE) for name, text in row.items()}
                yield number, row


def _records(fields: list[str] | None, lines: _Lines, header: list[str], delimiter: str) -> Iterator[Row]:
    """Yield what the lines of one record hold; `fields` is None where the strict reader refused them."""
    first, several, num_columns = lines.taken[0], len(lines.taken) > 1, len(header)
    if fields is not None:
        fields = _without_empty_end(fields, num_columns)
        if several and len(fields) == num_columns and not _is_escaped_row(first, num_columns, delimiter):
            if _may_be_rows(fields, lines.taken, delimiter):
                # Both readings are possible, and one of them gives a video the caption of another.
                yield from ((lines.number + place, _OPEN_QUOTE) for place in range(len(lines.taken)))
                return
            several = False
    if fields is None or several or len(fields) != num_columns:
        alone, is_doubtful = _read_alone(first, delimiter)
        alone = _without_empty_end(alone, num_columns)
        if fields is None or several or len(alone) == num_columns:
            fields = alone
            lines.keep_first()
            following = lines.following()
            continues = following and not _is_row(following, num_columns, delimiter)
            if is_doubtful and continues and len(fields) == num_columns:
                yield lines.number, _OPEN_QUOTE  # the next line seems to continue this one
                return
    elif '\\"' in first and _BARE_QUOTE.search(first):
        fields = [field.replace('\\"', '"') for field in fields]
    bad = next(filter(None, map(damage, lines.taken)), None)
    if bad is None and len(fields) != num_columns:
        kind = "more fields than the header" if len(fields) > num_columns else "fewer fields than the header"
        reason = f"{kind} ({len(fields)} instead of {num_columns})"
        is_short = len(fields) < num_columns and not first.startswith("#")
        bad = ShortRow(reason, fields=tuple(fields)) if is_short else BadRecord(reason)
    elif any(fields[place].strip() for place in _unnamed(tuple(header))):
        bad = BadRecord("more fields than the header (text below a column without a name)")
    elif [fields[0].lstrip("\ufeff"), *fields[1:]] == header:
        bad = BadRecord("the header again")
    yield lines.number, bad or dict(zip(header, fields, strict=True))


def _delimiter(lines: _Lines, path: Path) -> str:
    """The delimiter that divides the header best; the one of the suffix where several do. Skips Excel's `sep=;`."""
    first = lines.following()
    if first.lower().startswith("sep=") and len(first.strip()) <= 5:
        next(lines)
        return first[4:5].strip("\r\n") or "\t"
    usual = "\t" if kind_of(path) == ".tsv" else ","
    return max((usual, *_DELIMITERS), key=lambda delimiter: len(_fields(first, delimiter)))


def _is_in_single_quotes(line: str, delimiter: str, num_columns: int = 0) -> bool:
    """Whether all fields of a line, two or more, are quoted with `'`: then it is how the file quotes."""
    field = r"'(?:[^'\\]|''|\\.)*'"
    is_quoted = re.fullmatch(rf"{field}(?: *{re.escape(delimiter)} *{field})+", line.strip("\ufeff \r\n")) is not None
    return is_quoted and (not num_columns or len(_fields(line.translate(_SINGLE), delimiter)) == num_columns)


def _header(names: list[str], taken: Sequence[str], path: Path) -> list[str]:
    if bad := next(filter(None, map(damage, taken)), None):
        raise DataError(f"{path}: the header holds {bad.reason}.")
    names = [name.strip("\ufeff") for name in names]
    check_columns(path, names)
    return names


@cache
def _unnamed(header: tuple[str, ...]) -> tuple[int, ...]:
    """Columns without a name, such as those that spreadsheets leave and pandas calls `Unnamed: 2`.

    A text in one may be the end of a caption with a comma. The first columns are left out: they are pandas' index.
    """
    unnamed = [not name.strip() or bool(_NO_NAME.fullmatch(name.strip())) for name in header]
    return tuple(place for place, is_unnamed in enumerate(unnamed) if is_unnamed and not all(unnamed[:place]))


def _without_empty_end(fields: list[str], num_columns: int) -> list[str]:
    """The fields without the empty ones behind the last column.

    In a table of more than two columns they stay surplus, which is a problem of the row: in `a.mp4,A man, a dog,` of
    the columns video, caption and note, the comma of the caption may have moved `a dog` into the note.
    """
    while num_columns <= 2 and len(fields) > num_columns and not fields[-1].strip():
        fields = fields[:-1]
    return fields


@cache
def _field_pattern(delimiter: str) -> re.Pattern[str]:
    """A field that is quoted (group 1) or plain (group 2), and the delimiter after it (group 3)."""
    end = re.escape(delimiter)
    return re.compile(rf' *(?:"((?:\\"|""|[^"])*+)" *|((?:\\{end}|[^{end}])*+))({end}|$)')


def _fields(line: str, delimiter: str) -> list[str]:
    return _read_alone(line, delimiter)[0]


def _read_alone(line: str, delimiter: str) -> tuple[list[str], bool]:
    """The fields of a line alone, in the styles of other programs, and whether one holds a quote of unclear meaning.

    A plain field may hold quotes, also at its start. Where it begins and ends with one, they are its own and are
    removed, unless they belong to words within: `"Hello" she says "bye"`.
    """
    line, place, is_doubtful, fields = line.rstrip("\r\n"), 0, False, []
    while True:
        found = _field_pattern(delimiter).match(line, place)
        assert found is not None  # a plain field may be empty
        quoted, plain, end = found.groups()
        if quoted is not None:
            fields.append(re.sub(r'\\"|""', '"', quoted))
        else:
            is_doubtful = is_doubtful or '"' in plain.replace('\\"', "")
            text = plain.replace('\\"', '"').replace(f"\\{delimiter}", delimiter)
            ends = text.rstrip(" ")
            is_whole = len(ends) > 1 and ends[0] == ends[-1] == '"' and not _closes_within(ends[1:-1])
            fields.append(ends[1:-1] if is_whole else text)
        if not end:
            return fields, is_doubtful
        place = found.end()


def _closes_within(inner: str) -> bool:
    """Whether the first of an even number of quotes follows a word, as in `Hello" she says "bye`."""
    before, quote, _ = inner.partition('"')
    return bool(quote and before) and not inner.count('"') % 2 and not before[-1].isspace()


def _is_row(line: str, num_columns: int, delimiter: str) -> bool:
    """Whether a line alone has the columns of the header."""
    return len(_fields(line, delimiter)) == num_columns


def _is_escaped_row(line: str, num_columns: int, delimiter: str) -> bool:
    """Whether a line has quotes behind backslashes, and with these the columns of the header."""
    return '\\"' in line and _is_row(line, num_columns, delimiter)


def _may_be_rows(fields: Sequence[str], taken: Sequence[str], delimiter: str) -> bool:
    """Whether each line of a record over several lines could be a row: enough columns, and in one of them a word.

    The column is another one than that with the line break. Names of videos are such words, parts of a caption rarely.
    """
    rows = [_fields(line, delimiter) for line in taken if line.strip()]
    if any(len(row) != len(fields) for row in rows):
        return False
    others = [place for place, field in enumerate(fields) if "\n" not in field and "\r" not in field]
    return any(all(row[place] and not row[place].split()[1:] for row in rows) for place in others)
