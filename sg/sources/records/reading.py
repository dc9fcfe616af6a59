"""Annotation files as streams of records: CSV, TSV, JSON Lines, JSON arrays and objects, and Parquet.

No file is loaded whole, because a file may have tens of gigabytes. Texts may be compressed with gzip, bzip2 or xz.
The files are untrusted: a part that is not a record is yielded as a `BadRecord`, which the caller counts or raises, and
no content is executed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.records.columns import check_columns
from sg.sources.records.csv_rows import csv_rows
from sg.sources.records.json_values import JsonDecoder, JsonScanner, json_lines
from sg.sources.records.layouts import object_records
from sg.sources.records.texts import (
    CHUNK,
    LINES,
    PACKED,
    PARQUET,
    PARQUETS,
    SUFFIXES,
    TABLES,
    BadRecord,
    first_character,
    foreign_kind,
    kind_of,
    open_text,
)

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_BATCH = 2_000


def annotation_files(pattern: str) -> list[Path]:
    """The files that `pattern` names: one file, all annotation files of a folder, or a glob pattern; sorted.

    Of `train.csv` and `train.csv.gz` in one folder only the first is read. Hidden files are not: a Mac puts `._NAME`
    beside every file that it copies, and a killed process leaves unfinished ones.

    Raises:
        MissingInputError: no file matches.
        ConfigError: the suffix of a file is unknown.
    """
    path = Path(pattern)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = [file for file in path.glob("[!.]*") if kind_of(file) in SUFFIXES and file.is_file()]
    else:
        is_hidden = path.name.startswith(".")
        found = [
            file for file in path.parent.glob(path.name) if file.is_file() and file.name.startswith(".") <= is_hidden
        ]
    if not found:
        raise MissingInputError(f"There are no annotation files {pattern}: name them with data.annotations=FILE.")
    for file in found:
        check_suffix(file, "data.annotations")
    unpacked = set(found)
    return sorted(file for file in found if file.suffix.lower() not in PACKED or file.with_suffix("") not in unpacked)


def check_suffix(path: Path, setting: str) -> None:
    """Raise ConfigError unless the suffix is that of a readable format."""
    if kind_of(path) not in SUFFIXES:
        raise ConfigError(
            f"{setting}={path}: expected a file that ends in {', '.join(SUFFIXES)}; a text may also end in "
            f"{', '.join(PACKED)}."
        )


class RecordFile:
    """An annotation file: its records with their numbers, and where each one is."""

    def __init__(self, path: Path) -> None:
        self._path, self._kind = path, kind_of(path)
        self._has_lines = self._kind in TABLES

    def records(self) -> Iterator[tuple[int, Mapping[str, Any] | BadRecord]]:
        """Yield the records with their number, or that of their line.

        Raises:
            DataError: the rest of the file cannot be read.
        """
        for number, record in self._rows():
            if isinstance(record, (Mapping, BadRecord)):
                yield number, record
            else:
                yield number, BadRecord(f"not an object (a {type(record).__name__})")

    def place(self, number: int) -> str:
        """Where the record with this number is: `train.csv, line 7`."""
        return f"{self._path.name}, {'line' if self._has_lines else 'record'} {number}"

    def _rows(self) -> Iterable[tuple[int, Any]]:
        if self._kind in TABLES:
            return csv_rows(self._path)
        if self._kind in PARQUETS:
            return enumerate(_parquet_rows(self._path), 1)
        first = first_character(self._path)
        self._has_lines = self._kind in LINES and first != "["
        if self._has_lines:
            return json_lines(self._path)
        scanner = JsonScanner(self._path)
        if first == "{":
            values = scanner.sequence() if _is_sequence(self._path) else object_records(self._path)
        else:
            values = scanner.elements()
        return enumerate(values, 1)


def read_records(path: Path) -> Iterator[Mapping[str, Any] | BadRecord]:
    """Yield the records of an annotation file, read by its suffix; DataError where the rest cannot be read."""
    for _, record in RecordFile(path).records():
        yield record


def _is_sequence(path: Path) -> bool:
    """Whether another value follows the first object of a file."""
    with open_text(path) as stream:
        buffer = stream.read(CHUNK).lstrip()
    try:
        _, after = JsonDecoder().first(buffer, 0)
    except (ValueError, RecursionError):
        return False  # an object that is longer than the buffer is a map
    return bool(buffer[after:].strip())


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            check_columns(path, file.schema_arrow.names)
            for batch in file.iter_batches(_ROWS_PER_BATCH):
                yield from _with_texts(batch)
    except PermissionError:  # it is not damaged
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        kind = foreign_kind(path)
        reason = str(error).splitlines()[0] if kind in ("", PARQUET) else f"it is {kind}"
        raise DataError(f"{path} is not a Parquet file, or is damaged: {reason}.") from error


def _with_texts(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows, with bytes as text where they are UTF-8: some programs do not mark their texts."""
    binary = [field.name for field in batch.schema if "binary" in str(field.type)]
    rows: list[dict[str, Any]] = batch.to_pylist()
    for row in rows if binary else ():
        for name in binary:
            with contextlib.suppress(UnicodeDecodeError, AttributeError):  # not UTF-8, or null
                row[name] = row[name].decode()
    return rows
