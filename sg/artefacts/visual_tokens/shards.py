"""One shard of a store of visual tokens: its tensors, and the index of its clips.

A row of the index holds the key of a clip, its number of tokens, the CRC-32 of their bytes, stamp and content of the
clip's file, the indices of the sampled frames, the size of a frame, and a text that stands for the clip where the
frames decide it. Versions before 0.2 recorded neither size nor text.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.tables import as_column, as_numpy, parquet_writer
from sg.artefacts.visual_tokens.clips import ClipFacts
from sg.core.checksums import check_file
from sg.core.content import FileState
from sg.core.errors import DataError
from sg.core.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from torch import Tensor


_WORK_KEY = b"sg.made_by"


class ShardIndex:
    """The index of the shard at `path`, a Parquet file, in a store of the identity `work`.

    Raises:
        DataError: it is damaged, or belongs to a store of another identity, such as that of another student.
    """

    def __init__(self, path: Path, work: str) -> None:
        self.path = path
        table = _read_index(path)
        if (table.schema.metadata or {}).get(_WORK_KEY, work.encode()) != work.encode():
            raise DataError(
                f"{path} holds visual tokens that something else made: delete {path.with_suffix('')}.* and run again."
            )
        names = ("key", "count", "crc32", "file_stamp", "file_content")
        self._rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
        # Arrays, because the facts of a million clips are read one by one.
        frames = table["frame_indices"].combine_chunks()
        self._bounds, self._frames = as_numpy(frames.offsets), as_numpy(frames.flatten())
        columns = ("fps", "num_frames", "width", "height")
        self._fps, self._num_frames, self._width, self._height = (_filled(table[name]) for name in columns)
        self._texts = table["text"]

    def rows(self) -> Iterable[tuple[str, int, int, str, str]]:
        """(key, number of tokens, CRC-32, stamp and content of the file) of every clip."""
        return self._rows

    def facts(self, row: int) -> ClipFacts:
        """The frames of the clip in this row."""
        frames = self._frames[self._bounds[row] - self._bounds[0] : self._bounds[row + 1] - self._bounds[0]]
        size = int(self._width[row]), int(self._height[row])
        text = self._texts[row].as_py() or ""
        return ClipFacts(frames.tolist(), float(self._fps[row]), int(self._num_frames[row]), *size, text)


def row_of(key: str, facts: ClipFacts, count: int, crc32: int, source: FileState) -> dict[str, Any]:
    """The row of a clip's index, for a clip with `count` tokens that was read from `source`."""
    return {
        "key": key,
        "count": count,
        "crc32": crc32,
        "file_stamp": source.stamp,
        "file_content": source.content,
        "frame_indices": [int(index) for index in facts.frame_indices],
        "fps": float(facts.fps),
        "num_frames": int(facts.num_frames),
        "width": facts.width,
        "height": facts.height,
        "text": facts.text,
    }


def write_shard(index_path: Path, rows: list[dict[str, Any]], clips: Sequence[Mapping[str, Tensor]], work: str) -> None:
    """Write the tensors of `clips`, each [n, C] by name, and then their index, in a store of the identity `work`."""
    import pyarrow as pa
    import torch
    from safetensors.torch import save_file

    joined = {name: torch.cat([clip[name] for clip in clips]) for name in clips[0]}
    with atomic_path(index_path.with_suffix(".safetensors")) as temporary:
        save_file(joined, temporary)
    schema = _index_schema().with_metadata({_WORK_KEY: work.encode()})
    columns = {field.name: [row[field.name] for row in rows] for field in schema}
    with parquet_writer(index_path, schema) as writer:
        writer.write_table(
            pa.Table.from_arrays(
                # Only rows of versions before 0.2 have nulls.
                [
                    (pa.array if None in columns[field.name] else as_column)(columns[field.name], field.type)
                    for field in schema
                ],
                schema=schema,
            )
        )


def forget_in_shard(index_path: Path, contents: Collection[str], work: str) -> int:
    """Write a shard again without the clips of these file contents; returns their number."""
    from safetensors.torch import load_file

    rows = _read_index(index_path).to_pylist()
    kept = [number for number, row in enumerate(rows) if row["file_content"] not in contents]
    if len(kept) == len(rows):
        return 0
    data = index_path.with_suffix(".safetensors")
    counts = [row["count"] for row in rows]
    loaded: dict[str, Tensor] = load_file(data)
    parts = {name: tensor.split(counts) for name, tensor in loaded.items()}  # type: ignore[no-untyped-call]  # PyTorch's
    index_path.unlink()  # without its index, the shard does not exist
    if kept:
        clips = [{name: split[number] for name, split in parts.items()} for number in kept]
        write_shard(index_path, [rows[number] for number in kept], clips, work)
    else:
        data.unlink()
    return len(rows) - len(kept)


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 of the bytes of `tensors`, in the order of their names."""
    import torch

    crc32 = 0
    for name in sorted(tensors):
        crc32 = zlib.crc32(tensors[name].contiguous().view(torch.uint8).numpy().data, crc32)
    return crc32


def _index_schema() -> pa.Schema:
    import pyarrow as pa

    columns = {"key": pa.string(), "count": pa.int32(), "crc32": pa.uint32()}
    columns |= {"file_stamp": pa.string(), "file_content": pa.string()}
    columns |= {"frame_indices": pa.list_(pa.int32()), "fps": pa.float64(), "num_frames": pa.int64()}
    return pa.schema(columns | {"width": pa.int32(), "height": pa.int32(), "text": pa.string()})


def _filled(column: pa.ChunkedArray) -> NDArray[Any]:
    """The numbers of a column, 0 where there is none (in versions before 0.2)."""
    import numpy as np

    values = column.combine_chunks()
    return np.array([value or 0 for value in values.to_pylist()]) if values.null_count else as_numpy(values)


def _read_index(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_file(path, f"delete {path.with_suffix('')}.* and run again")
        with pq.ParquetFile(path) as file:  # `pq.read_table` would import pandas, which takes a second
            stored = file.read()
        schema = _index_schema().with_metadata(stored.schema.metadata)
        columns = [
            stored[field.name] if field.name in stored.column_names else pa.nulls(len(stored), field.type)
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)
    except (pa.ArrowException, OSError) as error:
        stem = path.with_suffix("")
        raise DataError(f"{path} is not an index of visual tokens ({error}); delete {stem}.* and run again.") from error
