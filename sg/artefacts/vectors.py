"""Vectors: one embedding per video, as Parquet parts and an `embeddings.json` in one folder.

A part (`part-00000.parquet`, ...) has the columns `video_id` (string) and `vector` (fixed-size list of float16; float32
and variable lists of equal length are read too). `embeddings.json` records the provenance (model, dim, frames, weights
hash, preprocessing). It is written last, so a folder without it is incomplete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.tables import parquet_writer
from sg.core.checksums import check_file
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json, read_record, write_record
from sg.core.fingerprints import file_hash, fingerprint
from sg.core.identity import recorded

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

INFO_FILE = "embeddings.json"
ID_COLUMN, VECTOR_COLUMN = "video_id", "vector"
_ROWS_AT_ONCE, _PARTS_AT_ONCE = 65_536, 4
_NAMED_IN_ERRORS = 3
_REMEDY = "delete it and run `python -m sg.embed` again"


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings: `matrix` is float32 [N, d] and finite, without zero rows; row i belongs to `video_ids[i]`."""

    video_ids: list[str]
    matrix: NDArray[np.float32]
    info: dict[str, Any]

    @property
    def dim(self) -> int:
        """Length d of a vector."""
        return int(self.matrix.shape[1])


def part_path(folder: Path, index: int) -> Path:
    """Path of part number `index` of the vectors in `folder`."""
    return folder / f"part-{index:05d}.parquet"


def vector_parts(folder: Path) -> list[Path]:
    """The part files of `folder`, in order."""
    return sorted(folder.glob("part-*.parquet"))


def write_vectors_part(folder: Path, index: int, video_ids: Sequence[str], matrix: NDArray[np.floating]) -> Path:
    """Write one part atomically: `matrix` [n, d] is stored as float16.

    Raises:
        DataError: the rows and ids differ in number, or a row is NaN, infinite or zero (also after rounding).
    """
    import numpy as np
    import pyarrow as pa

    if matrix.ndim != 2 or len(matrix) != len(video_ids):
        raise DataError(f"A part of vectors needs one row per video: {len(video_ids)} ids, a matrix of {matrix.shape}.")
    half = np.ascontiguousarray(matrix, dtype=np.float16)
    path = part_path(folder, index)
    _check_rows(half.astype(np.float32), video_ids, path)
    values = pa.FixedSizeListArray.from_arrays(pa.array(half.reshape(-1)), half.shape[1])
    table = pa.table({ID_COLUMN: pa.array(video_ids, pa.string()), VECTOR_COLUMN: values})
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table)
    return path


def write_vectors_info(folder: Path, info: dict[str, Any]) -> Path:
    """Write `embeddings.json`, which marks the folder as complete; `info` is plain data with at least `dim`."""
    write_record(folder / INFO_FILE, info)
    return folder / INFO_FILE


def read_vectors_info(folder: Path) -> dict[str, Any]:
    """The content of `embeddings.json`; MissingInputError if there is no complete set of vectors."""
    _check_folder(folder)
    info: dict[str, Any] = read_json(folder / INFO_FILE)
    return info


def vectors_fingerprint(folder: Path) -> str:
    """16 hex digits over the bytes of all parts in `folder`; nothing is decoded.

    What `embeddings.json` records does not count: the same vectors may be made by another version of the code.

    Raises:
        DataError: a part is another one than its embedding wrote, such as one of another embedder.
    """
    _check_folder(folder)
    work, hashes = recorded(read_json(folder / INFO_FILE)), {}
    for path in vector_parts(folder):
        hashes[path.name] = file_hash(path)
        status = read_record(path.with_suffix(".json"))  # parts of other programs have none
        made = recorded(status)
        of_others = (
            work and made and (made.settings, made.inputs.get("model")) != (work.settings, work.inputs.get("model"))
        )
        if of_others or status.get("checksum", hashes[path.name]) != hashes[path.name]:
            raise DataError(f"{path} holds vectors that this embedding did not write: {_REMEDY}.")
    return fingerprint(hashes)


def read_vector_ids(folder: Path) -> list[str]:
    """The ids of all vectors in `folder`, in order; does not read the vectors."""
    _check_folder(folder)
    return [video_id for path in vector_parts(folder) for video_id in read_part_ids(path)]


def read_part_ids(path: Path) -> list[str]:
    """The ids of one part, in order; DataError if the part is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_file(path, _REMEDY)
        ids: list[str] = pq.ParquetFile(path).read(columns=[ID_COLUMN])[ID_COLUMN].to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _unreadable(path, error) from error
    return ids


def read_part(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Ids and float32 rows [n, d] of one part.

    Raises:
        DataError: see `read_vectors`.
    """
    import numpy as np

    video_ids: list[str] = []
    matrices: list[NDArray[np.float32]] = []
    for ids, block in _blocks(path):
        _check_rows(block, ids, path)
        video_ids.extend(ids)
        matrices.append(block)
    return video_ids, np.concatenate(matrices) if matrices else np.empty((0, 0), np.float32)


def read_vectors(folder: Path) -> Vectors:
    """All vectors of `folder`, in the order of the parts.

    Raises:
        MissingInputError: there is no complete set of vectors.
        DataError: a part is truncated or has another format, dims differ, an id is repeated, or a row is NaN, infinite
            or zero; the message names the part or the ids.
    """
    import numpy as np

    _check_folder(folder)
    info = read_json(folder / INFO_FILE)
    paths = vector_parts(folder)
    begins = np.cumsum([0, *(_row_count(path) for path in paths)])
    dims = (block.shape[1] for path in paths for _, block in _blocks(path))
    dim = next(dims, None) or int(info.get("dim", 0))
    matrix = np.empty((begins[-1], dim), dtype=np.float32)

    def fill(part: int) -> list[str]:
        video_ids: list[str] = []
        for ids, block in _blocks(paths[part]):
            _check_dim(block.shape[1], dim, paths[part])
            _check_rows(block, ids, paths[part])
            begin = begins[part] + len(video_ids)
            matrix[begin : begin + len(ids)] = block
            video_ids.extend(ids)
        return video_ids

    with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
        video_ids = [video_id for ids in pool.map(fill, range(len(paths))) for video_id in ids]
    if info.get("dim", matrix.shape[1]) != matrix.shape[1]:
        raise DataError(f"{folder / INFO_FILE} says dim {info['dim']}, but the vectors have {matrix.shape[1]}.")
    _check_unique(video_ids, folder)
    return Vectors(video_ids, matrix, info)


def _check_folder(folder: Path) -> None:
    if not (folder / INFO_FILE).is_file():
        raise MissingInputError(
            f"There are no complete vectors in {folder} (no {INFO_FILE}): make them with `python -m sg.embed` for the "
            "same data and embedder."
        )


def _row_count(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_file(path, _REMEDY)
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _blocks(path: Path) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Yield ids and float32 rows of a part, `_ROWS_AT_ONCE` at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_file(path, _REMEDY)
        file = pq.ParquetFile(path)
        lacking = {ID_COLUMN, VECTOR_COLUMN} - set(file.schema_arrow.names)
        if lacking:
            raise DataError(f"{path} has no column {sorted(lacking)[0]!r}: a part has {ID_COLUMN} and {VECTOR_COLUMN}.")
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[ID_COLUMN, VECTOR_COLUMN]):
            if batch.column(0).null_count:
                raise DataError(f"{path}: column {ID_COLUMN!r} has {batch.column(0).null_count} rows without an id.")
            yield batch.column(0).to_pylist(), _rows(batch.column(1), path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _rows(column: pa.Array, path: Path) -> NDArray[np.float32]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if not (lists or pa.types.is_fixed_size_list(column.type)) or not pa.types.is_floating(column.type.value_type):
        raise DataError(f"{path}: column {VECTOR_COLUMN!r} is {column.type}, expected lists of float16 or float32.")
    if column.null_count:
        raise DataError(f"{path}: column {VECTOR_COLUMN!r} has {column.null_count} rows without a vector.")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) > 1:
        raise DataError(f"{path}: vectors of different lengths ({min(lengths)} and {max(lengths)}), expected one dim.")
    values = column.flatten().to_numpy(zero_copy_only=False)
    rows: NDArray[np.float32] = values.astype(np.float32).reshape(len(column), lengths[0] if lengths else 0)
    return rows


def _check_dim(dim: int, expected: int, path: Path) -> None:
    if dim != expected:
        raise DataError(f"{path} holds vectors of dim {dim}, the parts before it {expected}: embed all of them again.")


def _check_rows(block: NDArray[np.float32], ids: Sequence[str], path: Path) -> None:
    import numpy as np

    for bad, what in ((~np.isfinite(block).all(axis=1), "NaN or infinite"), (~block.any(axis=1), "zero")):
        if bad.any():
            named = ", ".join(repr(ids[row]) for row in np.flatnonzero(bad)[:_NAMED_IN_ERRORS])
            raise DataError(
                f"{path}: {int(bad.sum())} vectors are {what} (videos {named}): embed these videos again or drop them."
            )


def _check_unique(video_ids: list[str], folder: Path) -> None:
    if len(set(video_ids)) == len(video_ids):
        return
    repeated = [video_id for video_id, count in Counter(video_ids).items() if count > 1]
    named = ", ".join(repr(video_id) for video_id in repeated[:_NAMED_IN_ERRORS])
    raise DataError(f"{folder}: {len(repeated)} video ids appear twice ({named}): expected one vector per video.")


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path} is truncated or not Parquet ({reason}): {_REMEDY}.")
