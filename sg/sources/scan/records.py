"""Annotation files as streams of records: CSV, TSV, JSON Lines, JSON arrays and Parquet.

No file is loaded whole, because a file may have tens of gigabytes. Texts may be compressed with gzip. The files are
untrusted: a part that is not a record is yielded as a `BadRecord`, which the caller counts or raises, and no content is
executed.
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
"""Characters; a longer line or array element is not an annotation, but damage or an attack."""
_MAX_LITERAL = 2**20
_CHUNK = 2**20
_ROWS_PER_BATCH = 2_000
TABLES, LINES, PARQUETS = (".csv", ".tsv"), (".jsonl", ".ndjson"), (".parquet",)
TEXTS = (*TABLES, ".json", *LINES)
SUFFIXES = (*TEXTS, *PARQUETS)
PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A part of an annotation file that is not a record: its place and the reason."""

    where: str
    reason: str


def kind_of(path: Path) -> str:
    """The suffix that decides how a file is read, in lower case: `.csv` for `train.csv` and `train.csv.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == PACKED and inner in TEXTS else suffix


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file, with gzip where its name ends in `.gz`; DataError where it is cut off or not a gzip file."""
    packed = path.suffix.lower() == PACKED
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline=newline)
            if packed
            else path.open(encoding="utf-8-sig", errors="replace", newline=newline)
        ) as stream:
            yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a complete gzip file: {error}.") from error


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
        if kind_of(file) not in SUFFIXES:
            raise ConfigError(
                f"data.annotations={file}: expected a file that ends in {', '.join(SUFFIXES)}, or a text with {PACKED}."
            )
    unpacked = set(found)
    return sorted(file for file in found if file.suffix.lower() != PACKED or file.with_suffix("") not in unpacked)


def read_records(path: Path) -> Iterator[Mapping[str, Any] | BadRecord]:
    """Yield the records of an annotation file, read by its suffix; DataError where the rest cannot be read."""
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
            yield BadRecord(f"{path.name}, record {number}", f"a {type(record).__name__} is not an object")


def csv_rows(path: Path) -> Iterator[Mapping[str, Any] | BadRecord]:
    """Yield the rows of a CSV or TSV file by its header. All values stay text: ids must not become numbers."""
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
                yield BadRecord(f"{path.name}, line {reader.line_num}", f"not CSV ({error})")


def json_lines(path: Path) -> Iterator[Any | BadRecord]:
    """Yield one value per line. Lines in the form of a Python dict are read too, with the parser for literals only."""
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
    return BadRecord(where, f"not JSON ({reason})")


def json_array(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array one by one, without loading the array.

    Raises:
        DataError: the array is broken or cut off; the elements before that place were yielded.
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
                # A number at the end of the buffer may continue in the next chunk: "12" of "123" parses as well.
                if after == len(buffer) and not ended:
                    raise json.JSONDecodeError("may continue", buffer, after)
            except RecursionError as error:
                raise DataError(f"{path} is not JSON: nested too deeply.") from error
            except ValueError as error:
                # The element is incomplete: double the buffer. So all attempts to parse a long element take linear time
                # in total.
                more = stream.read(max(_CHUNK, len(buffer) - place))
                if ended or len(buffer) - place > MAX_LINE:
                    raise DataError(f"{path} is not JSON: {error}.") from error
                buffer, place, ended = buffer[place:] + more, 0, not more
                continue
            yield value
            place = after


def first_character(path: Path) -> str:
    """The first character of a text that is not white space; "" where the first megabyte has none."""
    with open_text(path) as stream:
        return stream.read(_CHUNK).lstrip()[:1]


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_PER_BATCH):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}.") from error
