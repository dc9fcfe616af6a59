"""Annotation files as streams of records: CSV, TSV, JSON Lines, JSON arrays and objects, and Parquet.

No file is loaded whole, because a file may have tens of gigabytes. Texts may be compressed with gzip. The files are
untrusted: a part that is not a record is yielded as a `BadRecord`, which the caller counts or raises, and no content is
executed.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.scan.csv_rows import csv_rows
from sg.sources.scan.texts import (
    CHUNK,
    LINES,
    MAX_LINE,
    PACKED,
    PARQUETS,
    SUFFIXES,
    TABLES,
    BadRecord,
    damage,
    first_character,
    kind_of,
    open_text,
)

KEY_OF_MAP = "key of the map"
"""The column of a record of an object {id: {...}} that holds the id."""
_MAX_LITERAL = 2**20
_ROWS_PER_BATCH = 2_000
_SPACE = " \t\r\n"
_TWICE = BadRecord("a key that is there twice (with different values)")


def annotation_files(pattern: str) -> list[Path]:
    """The files that `pattern` names: one file, all annotation files of a folder, or a glob pattern; sorted.

    Of `train.csv` and `train.csv.gz` in one folder only the first is read.

    Raises:
        MissingInputError: no file matches.
        ConfigError: the suffix of a file is unknown.
    """
    path = Path(pattern)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = [file for file in path.iterdir() if kind_of(file) in SUFFIXES and file.is_file()]
    else:
        found = [file for file in path.parent.glob(path.name) if file.is_file()]
    if not found:
        raise MissingInputError(f"There are no annotation files {pattern}: name them with data.annotations=FILE.")
    for file in found:
        check_suffix(file, "data.annotations")
    unpacked = set(found)
    return sorted(file for file in found if file.suffix.lower() != PACKED or file.with_suffix("") not in unpacked)


def check_suffix(path: Path, setting: str) -> None:
    """Raise ConfigError unless the suffix is that of a readable format."""
    if kind_of(path) not in SUFFIXES:
        raise ConfigError(
            f"{setting}={path}: expected a file that ends in {', '.join(SUFFIXES)}, or a text with {PACKED}."
        )


def read_records(path: Path) -> Iterator[Mapping[str, Any] | BadRecord]:
    """Yield the records of an annotation file, read by its suffix; DataError where the rest cannot be read."""
    for _, record in numbered_records(path):
        yield record


def numbered_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | BadRecord]]:
    """The records of `read_records` with their number; `place` turns it into a text."""
    rows: Iterable[tuple[int, Any]]
    kind = kind_of(path)
    if kind in TABLES:
        rows = csv_rows(path)
    elif kind in PARQUETS:
        rows = enumerate(_parquet_rows(path), 1)
    elif kind == ".json" and not holds_lines(path):
        rows = enumerate(_json_values(path), 1)
    else:
        rows = _json_lines(path)
    for number, record in rows:
        if isinstance(record, (Mapping, BadRecord)):
            yield number, record
        else:
            yield number, BadRecord(f"not an object (a {type(record).__name__})")


def place(path: Path, number: int) -> str:
    """Where the record with this number is: `train.csv, line 7`."""
    return f"{path.name}, {'line' if kind_of(path) in (*TABLES, *LINES) else 'record'} {number}"


def holds_lines(path: Path) -> bool:
    """Whether a .json file holds one value per line: its first value is an object that another one follows."""
    if first_character(path) == "[":
        return False
    with open_text(path) as stream:
        buffer = stream.read(CHUNK).lstrip()
    try:
        _, after = json.JSONDecoder().raw_decode(buffer)
    except (ValueError, RecursionError):
        # An object that is longer than the buffer is a map; a broken first line is reported with its number.
        return "\n" in buffer and len(buffer) < CHUNK
    return bool(buffer[after:].strip())


def _json_lines(path: Path) -> Iterator[tuple[int, Any | BadRecord]]:
    """Yield one value per line. Lines in the form of a Python dict are read too, with the parser for literals only."""
    decoder, number = JsonDecoder(), 0
    with open_text(path) as stream:
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                while line and not line.endswith("\n"):
                    line = stream.readline(MAX_LINE)
                yield number, BadRecord(f"longer than {MAX_LINE:,} characters")
            elif line.strip():
                yield number, damage(line) or decoder.whole(line)


class JsonDecoder:
    """Decodes JSON. Python's decoder takes the last of two values of one key, and the first is gone."""

    def __init__(self) -> None:
        self._json = json.JSONDecoder(object_pairs_hook=self._object)
        self._is_twice = False

    def first(self, text: str, place: int) -> tuple[Any | BadRecord, int]:
        """The value that begins at `place`, and the place after it.

        Raises:
            ValueError: it is not JSON.
            RecursionError: it is nested too deeply.
        """
        self._is_twice = False
        value, after = self._json.raw_decode(text, place)
        return _TWICE if self._is_twice else value, after

    def whole(self, text: str) -> Any | BadRecord:
        """The value of a whole text in JSON, or in the form of a Python dict."""
        start = len(text) - len(text.lstrip())
        try:
            value, after = self.first(text, start)
        except RecursionError:
            return BadRecord("not JSON (nested too deeply)")
        except ValueError as error:
            return _literal(text) if text[start : start + 2] == "{'" else BadRecord(f"not JSON ({error})")
        behind = text[after:].strip()
        return BadRecord(f"not JSON (text follows its end: {behind[:20]!r})") if behind else value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            self._is_twice = self._is_twice or any(value[key] != other for key, other in pairs)
        return value


def _literal(text: str) -> Any | BadRecord:
    try:
        tree = ast.parse(text.strip() if len(text) <= _MAX_LITERAL else "", mode="eval")
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return BadRecord("not JSON (and not a Python literal)")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = [(ast.dump(key), ast.dump(item)) for key, item in zip(node.keys, node.values, strict=True) if key]
            if len(dict(pairs)) != len(set(pairs)):
                return _TWICE
    return value


def _json_values(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array, or the record or records of a JSON object; nothing is loaded whole.

    An object whose first value is not an object is one record. Others map ids to records, as Kinetics publishes them:
    {id: {...}} yields {KEY_OF_MAP: id, ...}.
    """
    scanner = JsonScanner(path)
    if first_character(path) == "[":
        yield from scanner.elements()
        return
    members = scanner.members()
    begin: list[tuple[str, Any]] = []
    for name, value in members:
        begin.append((name, value))
        if not isinstance(value, BadRecord):
            break
    if begin and isinstance(begin[-1][1], Mapping):
        for name, value in chain(begin, members):
            yield {**value, KEY_OF_MAP: name} if isinstance(value, Mapping) else value
        return
    pairs = [*begin, *members]
    values = dict(pairs)
    bad = next((value for _, value in pairs if isinstance(value, BadRecord)), None)
    yield bad or (_TWICE if any(values[name] != value for name, value in pairs) else values)


class JsonScanner:
    """Reads a JSON array or object from a file one element at a time.

    Raises:
        DataError: while it is read, where the text is broken or cut off, or where text follows its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = JsonDecoder()
        self._buffer, self._place, self._ended = "", 0, False

    def elements(self) -> Iterator[Any | BadRecord]:
        """The elements of an array; a BadRecord where the text of one is not UTF-8."""
        with open_text(self._path) as self._stream:
            while self._continues("[", "]"):
                yield self._next()

    def members(self) -> Iterator[tuple[str, Any | BadRecord]]:
        """The members of an object, also of repeated names."""
        with open_text(self._path) as self._stream:
            while self._continues("{", "}"):
                name = self._next()
                self._skip(_SPACE + ":")
                value = self._next()
                yield str(name), name if isinstance(name, BadRecord) else value

    def _continues(self, first: str, last: str) -> bool:
        """Skip to the next element; False at the end."""
        if not self._buffer and not self._ended:
            self._skip(_SPACE)
            if not self._buffer.startswith(first, self._place):
                raise DataError(f"{self._path} is not JSON: it should begin with {first}.")
            self._place += 1
        self._skip(_SPACE + ",")
        if not self._buffer.startswith(last, self._place):
            return True
        self._place += 1
        self._skip(_SPACE)
        if self._place < len(self._buffer):
            behind = self._buffer[self._place : self._place + 40]
            raise DataError(
                f"{self._path} is not JSON: text follows the end of its first value ({behind!r}): write one value, or "
                "one per line with the suffix .jsonl."
            )
        return False

    def _skip(self, characters: str) -> None:
        while True:
            while self._place < len(self._buffer) and self._buffer[self._place] in characters:
                self._place += 1
            if self._place < len(self._buffer) or self._ended:
                return
            self._read()

    def _read(self) -> None:
        # As much again as is waiting, so that parsing a long element again and again takes linear time in total.
        more = self._stream.read(max(CHUNK, len(self._buffer) - self._place))
        self._buffer, self._place, self._ended = self._buffer[self._place :] + more, 0, not more

    def _next(self) -> Any | BadRecord:
        while True:
            try:
                value, after = self._decoder.first(self._buffer, self._place)
                # A number at the end of the buffer may continue in the next chunk: "12" of "123" parses as well.
                if after == len(self._buffer) and not self._ended:
                    raise json.JSONDecodeError("may continue", self._buffer, after)
            except RecursionError as error:
                raise DataError(f"{self._path} is not JSON: nested too deeply.") from error
            except ValueError as error:
                if self._ended or len(self._buffer) - self._place > MAX_LINE:
                    raise DataError(f"{self._path} is not JSON: {error}.") from error
                self._read()
                continue
            bad = damage(self._buffer[self._place : after])
            self._place = after
            return bad or value


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_PER_BATCH):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}.") from error
