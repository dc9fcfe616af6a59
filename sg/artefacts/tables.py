"""Reading and writing the Parquet artefacts: a kind, a fixed schema, what made it, and a hash of the content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.errors import DataError, MissingInputError
from sg.core.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

_KIND_KEY, _INFO_KEY = b"sg.kind", b"sg.info"


def write_batches(
    path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, kind: str, info: Mapping[str, Any]
) -> None:
    """Write batches as one Parquet file, whole or not at all; `info` (plain data) is stored in its metadata."""
    import pyarrow.parquet as pq

    full = schema.with_metadata({_KIND_KEY: kind.encode(), _INFO_KEY: json.dumps(info, sort_keys=True).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, full, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(full.metadata))


def read_table(path: Path, schema: pa.Schema, kind: str) -> tuple[pa.Table, dict[str, Any]]:
    """Read the columns of `schema` and the info of an artefact.

    MissingInputError when there is no file; DataError when it is no Parquet file, lacks a column, holds nulls, or has
    another type than the schema asks for. Further columns are left unread; a file without info is accepted.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingInputError(f"no {kind} at {path}: make it first or name its folder with data.dir")
    try:
        file = pq.ParquetFile(path)
        missing = [name for name in schema.names if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path}: no column {missing[0]!r}, expected a {kind} with {', '.join(schema.names)}")
        table = file.read(columns=schema.names).select(schema.names)
        for name in schema.names:
            if table[name].null_count:
                row = pc.index(pc.is_null(table[name]), True).as_py()
                raise DataError(f"{path}: column {name!r} of the {kind} is empty in row {row}")
        table = table.cast(schema.remove_metadata())
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a {kind}: {str(error).splitlines()[0]}") from error
    return table, read_info(path)


def read_info(path: Path) -> dict[str, Any]:
    """What made an artefact, from the file's metadata alone; {} when the file is missing, foreign or unreadable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
        info = json.loads(metadata.get(_INFO_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def column_hash(table: pa.Table, names: Sequence[str]) -> str:
    """Hash of columns' values in row order (32 hex characters): the same for any chunking, file layout or version."""
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        column = table[name].combine_chunks()
        if pa.types.is_string(column.type):
            column = pc.cast(column, pa.large_string())
            lengths = pc.binary_length(column).to_numpy(zero_copy_only=False).astype("<i8")
            start = column.offset
            offsets = memoryview(column.buffers()[1]).cast("q")[start : start + len(column) + 1]
            values = memoryview(column.buffers()[2] or b"")[offsets[0] : offsets[-1]] if len(column) else b""
            parts = [lengths.tobytes(), bytes(values)]
        else:
            parts = [column.to_numpy(zero_copy_only=False).tobytes()]
        digest.update(name.encode() + b"\x00")
        for part in parts:
            digest.update(part)
    return digest.hexdigest()
