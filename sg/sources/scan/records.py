"""Annotation files as streams of records: CSV, TSV, JSON Lines, JSON arrays, Parquet; none is loaded whole.

Texts may be packed with gzip. The files come from strangers and may be tens of gigabytes, unpacked more. What is no
record is given as a `BadRecord`, so that the caller counts it or stops at it; nothing in a file is evaluated.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sg.core.errors import ConfigError, DataError, MissingInputError

MAX_LINE = 2**26
"""Characters; a longer line or array element is no annotation but an attack or an accident."""
_MAX_LITERAL = 2**20
_CHUNK = 2**20
_ROWS_PER_BATCH = 2_000
TABLES, LINES, PARQUETS = (".csv", ".tsv"), (".jsonl", ".ndjson"), (".parquet",)
TEXTS = (*TABLES, ".json", *LINES)
SUFFIXES = (*TEXTS, *PARQUETS)
PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A part of an annotation file that is no record, and why."""

    where: str
    reason: str


def kind_of(path: Path) -> str:
    """The suffix that says how a file is to be read, in small letters: `.csv` for `train.csv` and `train.csv.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == PACKED and inner in TEXTS else suffix


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """A text file, packed with gzip where its name ends so; DataError when it is cut off or no gzip file."""
    packed = path.suffix.lower() == PACKED
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline=newline)
            if packed
            else path.open(encoding="utf-8-sig", errors="replace", newline=newline)
        ) as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file: {error}.") from error


def annotation_files(pattern: str) -> list[Path]:
    """The files that `pattern` names: one file, all annotation files of a folder, or a glob pattern; sorted.

    Of `train.csv` and `train.csv.gz` in one folder the first is taken.

    Raises:
        MissingInputError: there is none.
        ConfigError: a named file is of an unknown kind.
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
        if kind_of(file) not in SUFFIXES:
            raise ConfigError(
                f"data.annotations={file}: expected a file that ends in {', '.join(SUFFIXES)}, or a text in {PACKED}."
            )
    unpacked = set(found)
    return sorted(file for file in found if file.suffix.lower() != PACKED or file.with_suffix("") not in unpacked)


def read_records(path: Path) -> Iterator[Mapping[str, Any] | BadRecord]:
    """The records of an annotation file, read as its suffix says; DataError when nothing more can be read of it."""
    kind = kind_of(path)
    if kind in TABLES:
        source = csv_rows(path)
    elif kind in PARQUETS:
        source = _parquet_rows(path)
    elif kind == ".json" and first_character(path) == "[":
        source = json_array(path)
    else:
        source = json_lines(path)
    for number, record in enumerate(source, 1):
        if isinstance(record, (Mapping, BadRecord)):
            yield record
        else:
            yield BadRecord(f"{path.name}, record {number}", f"a {type(record).__name__} is no object")


def csv_rows(path: Path) -> Iterator[Mapping[str, Any] | BadRecord]:
    """Rows of a CSV or TSV file by its header; values are text, whatever they look like."""
    csv.field_size_limit(MAX_LINE)
    delimiter = "\t" if kind_of(path) == ".tsv" else ","
    with open_text(path, newline="") as stream:
        lines = iter(lambda: stream.readline(MAX_LINE), "")
        reader = csv.DictReader((line.replace("\0", "\ufffd") for line in lines), delimiter=delimiter)
        while True:
            try:
                yield next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRecord(f"{path.name}, line {reader.line_num}", f"no CSV ({error})")


def json_lines(path: Path) -> Iterator[Any | BadRecord]:
    """A value a line; lines as Python prints a dict are read too, by the parser of literals alone."""
    with open_text(path) as stream:
        number = 0
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            where = f"{path.name}, line {number}"
            if len(line) > MAX_LINE:
                while line and not line.endswith("\n"):
                    line = stream.readline(MAX_LINE)
                yield BadRecord(where, f"longer than {MAX_LINE:,} characters")
            elif line.strip():
                yield _value(line, where)


def _value(line: str, where: str) -> Any | BadRecord:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if line.lstrip().startswith("{'") and len(line) <= _MAX_LITERAL:
        try:
            return ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            reason = "neither JSON nor a Python literal"
    return BadRecord(where, f"no JSON ({reason})")


def json_array(path: Path) -> Iterator[Any]:
    """The elements of a JSON array, one after the other.

    Raises:
        DataError: the array is broken or cut off; elements before that were given.
    """
    decoder = json.JSONDecoder()
    with open_text(path) as stream:
        buffer, place, ended = "", 0, False
        buffer = stream.read(_CHUNK).lstrip()[1:]
        while True:
            while place < len(buffer) and buffer[place] in " \t\r\n,":
                place += 1
            if buffer.startswith("]", place):
                return
            try:
                value, after = decoder.raw_decode(buffer, place)
                if after == len(buffer) and not ended:
                    raise json.JSONDecodeError("may go on", buffer, after)
            except RecursionError as error:
                raise DataError(f"{path} is no JSON: nested too deeply.") from error
            except ValueError as error:
                more = stream.read(max(_CHUNK, len(buffer) - place))
                if ended or len(buffer) - place > MAX_LINE:
                    raise DataError(f"{path} is no JSON: {error}.") from error
                buffer, place, ended = buffer[place:] + more, 0, not more
                continue
            yield value
            place = after


def first_character(path: Path) -> str:
    """The first character of a text that is no white space; empty when there is none near its beginning."""
    with open_text(path) as stream:
        return stream.read(_CHUNK).lstrip()[:1]


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_PER_BATCH):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is no Parquet file: {str(error).splitlines()[0]}.") from error
