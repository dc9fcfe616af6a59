"""Reads and writes the Parquet artefacts: a kind, a fixed schema, provenance, and a hash of the content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sg.core.checksums import CHECKSUM_KEY, CHECKSUM_UNSET, add_checksum, check_file
from sg.core.errors import DataError, MissingInputError
from sg.core.files import atomic_path

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_KIND_KEY, _INFO_KEY = b"sg.kind", b"sg.info"
ROWS_PER_BATCH = 10_000


class OfVideo(Protocol):
    """A row about a video."""

    @property
    def video_id(self) -> str:
        """Unique in its table."""
        ...


Record = TypeVar("Record", bound=OfVideo)


def write_batches(
    path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, kind: str, info: Mapping[str, Any]
) -> None:
    """Write batches as one Parquet file, atomically; `info` (plain data) is stored in its metadata."""
    full = schema.with_metadata({_KIND_KEY: kind.encode(), _INFO_KEY: json.dumps(info, sort_keys=True).encode()})
    with parquet_writer(path, full) as writer:
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(full.metadata))


@contextlib.contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A writer of the Parquet file at `path`, which appears when the block succeeds, with a checksum."""
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            yield writer
            writer.add_key_value_metadata({CHECKSUM_KEY: CHECKSUM_UNSET})
        add_checksum(temporary)


def record_schema(record: type[Any]) -> pa.Schema:
    """The Arrow schema of a dataclass whose fields are texts, numbers and tuples of texts or fractions."""
    import pyarrow as pa

    types = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}
    types |= {f"tuple[{name}, ...]": pa.list_(types[name]) for name in ("str", "float")}
    return pa.schema([pa.field(f.name, types[str(f.type)], nullable=False) for f in fields(record)])


def record_batches(
    records: Iterable[Record], schema: pa.Schema, check: Callable[[Record], None], repeated: str
) -> Iterator[pa.RecordBatch]:
    """Yield batches of records; `check` is called with each record and may raise.

    Raises:
        DataError: an id is repeated; `repeated` is the message, with {!r} for the id.
    """
    import pyarrow as pa

    seen, rows = SeenIds(), iter(records)
    while chunk := list(islice(rows, ROWS_PER_BATCH)):
        for record in chunk:
            check(record)
        is_new = seen.add([record.video_id for record in chunk])
        if not all(is_new):
            raise DataError(repeated.format(chunk[is_new.index(False)].video_id))
        columns = [as_column([getattr(row, field.name) for row in chunk], field.type) for field in schema]
        yield pa.record_batch(columns, schema=schema)


def as_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """An array without nulls; mostly not with `pa.array`, which imports pandas: 60 MB and half a CPU second."""
    import pyarrow as pa

    codes = {pa.int32(): "i", pa.uint32(): "I", pa.int64(): "q", pa.float64(): "d"}
    if kind == pa.string():
        texts = [value.encode() for value in values]
        buffers = [array("i", accumulate(map(len, texts), initial=0)), b"".join(texts)]
    elif pa.types.is_list(kind):
        starts = as_column([*accumulate(map(len, values), initial=0)], pa.int32())
        return pa.ListArray.from_arrays(
            starts, as_column([item for value in values for item in value], kind.value_type)
        )
    elif kind in codes:
        buffers = [array(codes[kind], values)]
    else:
        return pa.array(values, kind)
    return pa.Array.from_buffers(kind, len(values), [None, *map(pa.py_buffer, buffers)])


def as_numpy(values: pa.Array) -> NDArray[Any]:
    """The numbers of an array without nulls; not with its `to_numpy`, which imports pandas."""
    import numpy as np

    return np.from_dlpack(values)


def read_table(path: Path, schema: pa.Schema, kind: str) -> tuple[pa.Table, dict[str, Any]]:
    """Read the columns of `schema` and the info of an artefact. Other columns are ignored; info may be missing.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is not a Parquet file, lacks a column, holds nulls, or has other types than `schema`.
    """
    with _reading(path, schema, kind) as file:
        table = _checked(file.read(columns=schema.names), schema, f"{path}: column {{!r}} of the {kind}", 0)
    return table, read_info(path)


def scan_table(
    path: Path, schema: pa.Schema, kind: str, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Like `read_table`, but yields tables of `rows` rows, for a step that needs each row once.

    With `columns`, only those are read; the file must still have all columns of `schema`.
    """
    import pyarrow as pa

    first = 0
    chosen = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    with _reading(path, schema, kind) as file:
        for batch in file.iter_batches(rows, columns=chosen.names):
            table = pa.Table.from_batches([batch])
            yield _checked(table, chosen, f"{path}: column {{!r}} of the {kind}", first)
            first += len(table)


def rows_of(table: pa.Table, videos: Collection[str]) -> pa.Table:
    """The rows of some videos, in the order of the table."""
    import pyarrow as pa

    return table.filter(pa.array([video_id in videos for video_id in table["video_id"].to_pylist()], pa.bool_()))


@contextlib.contextmanager
def _reading(path: Path, schema: pa.Schema, kind: str) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingInputError(f"no {kind} at {path}: make it first or name its folder with data.dir")
    try:
        check_file(path)
        with pq.ParquetFile(path) as file:
            missing = [name for name in schema.names if name not in file.schema_arrow.names]
            if missing:
                raise DataError(f"{path}: no column {missing[0]!r}, expected a {kind} with {', '.join(schema.names)}")
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path} cannot be read as a {kind} ({reason}): delete it and run its step again.") from error


def _checked(table: pa.Table, schema: pa.Schema, column: str, first_row: int) -> pa.Table:
    import pyarrow.compute as pc

    for name in schema.names:
        if table[name].null_count:
            row = first_row + pc.index(pc.is_null(table[name]), True).as_py()
            raise DataError(f"{column.format(name)} is empty in row {row}")
    return table.select(schema.names).cast(schema.remove_metadata())


def read_info(path: Path) -> dict[str, Any]:
    """Provenance of an artefact from the file's metadata; {} when the file is missing, foreign, damaged or unreadable.

    A damaged file is therefore made again where its step compares this with what it would make.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_file(path)
        metadata = pq.read_schema(path).metadata or {}
        info = json.loads(metadata.get(_INFO_KEY, b"{}"))
    except DataError as error:
        log.warning("%s", error)
        return {}
    except (pa.ArrowException, OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def num_rows(path: Path) -> int:
    """Number of rows of an artefact, from the file's metadata."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def is_table(path: Path) -> bool:
    """Whether there is a readable, undamaged Parquet file at `path`; only its metadata is decoded."""
    import pyarrow as pa

    try:
        check_file(path)
        return num_rows(path) >= 0
    except (DataError, pa.ArrowException, OSError):
        return False


def repeated_id(ids: pa.ChunkedArray) -> str | None:
    """An id that appears more than once; None if there is none. Takes 16 bytes per id, a table of texts takes 60."""
    import numpy as np
    import pyarrow.compute as pc

    hashes = np.empty(len(ids), np.int64)
    first = 0
    for chunk in ids.chunks:
        for start in range(0, len(chunk), ROWS_PER_BATCH):
            part = chunk.slice(start, ROWS_PER_BATCH)
            hashes[first : first + len(part)] = list(map(hash, part.to_pylist()))
            first += len(part)
    hashes.sort()
    if not (hashes[1:] == hashes[:-1]).any():
        return None
    counts = ids.value_counts()
    repeated = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))
    return str(repeated[0]["values"].as_py()) if len(repeated) else None


class SeenIds:
    """The ids that were added so far, as 8 bytes each: a set of half a million texts takes 60 MB."""

    def __init__(self) -> None:
        import numpy as np

        self._hashes = np.empty(0, np.int64)
        """Sorted."""

    def add(self, ids: Sequence[str]) -> list[bool]:
        """Add ids; returns for each whether it is new, also among those before it in `ids`."""
        import numpy as np

        new = np.fromiter(map(hash, ids), np.int64, len(ids))
        is_new = np.zeros(len(ids), bool)
        is_new[np.unique(new, return_index=True)[1]] = True
        if len(self._hashes):
            nearest = np.searchsorted(self._hashes, new).clip(max=len(self._hashes) - 1)
            is_new &= self._hashes[nearest] != new
        # A stable sort merges the two sorted parts.
        self._hashes = np.sort(np.concatenate([self._hashes, np.sort(new[is_new])]), kind="stable")
        return is_new.tolist()


def column_hash(table: pa.Table, names: Sequence[str]) -> str:
    """32 hex characters over the values of columns in row order, independent of chunking, file layout and version."""
    return hash_of_columns(names, lambda name: table[name].chunks)


def hash_of_columns(names: Sequence[str], chunks: Callable[[str], Iterable[pa.Array]]) -> str:
    """The hash of `column_hash`, from the chunks that `chunks` returns for a column; a text column is read twice."""
    import pyarrow as pa

    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(name.encode() + b"\x00")
        is_text = False
        for chunk in chunks(name):
            is_text = pa.types.is_string(chunk.type)
            digest.update(lengths_of(chunk).tobytes() if is_text else chunk.to_numpy(zero_copy_only=False).tobytes())
        if is_text:
            for chunk in chunks(name):
                digest.update(characters_of(chunk))
    return digest.hexdigest()


def lengths_of(chunk: pa.StringArray) -> NDArray[np.int64]:
    """[n] the bytes of each text."""
    import pyarrow.compute as pc

    lengths: NDArray[np.int64] = pc.binary_length(chunk).to_numpy(zero_copy_only=False).astype("<i8")
    return lengths


def characters_of(chunk: pa.StringArray) -> memoryview | bytes:
    """The bytes of all texts, one after another."""
    if not len(chunk):
        return b""
    _, offsets, values = chunk.buffers()
    ends = memoryview(offsets).cast("i")[chunk.offset : chunk.offset + len(chunk) + 1]
    return memoryview(values or b"")[ends[0] : ends[-1]]
