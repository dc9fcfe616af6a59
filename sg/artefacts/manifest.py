"""The manifest: one row per video; all steps read it.

A Parquet file with the columns of `VideoRecord`, in the order of the source; the metadata holds its provenance as JSON.
Ids and paths are checked on writing and again on reading, because other programs write manifests too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.names import (
    ID_PATTERN,
    MAX_ID_BYTES,
    RESERVED_PATTERN,
    UNSAFE_PATH_PATTERN,
    check_relative_path,
    check_video_id,
    resolve_inside,
)
from sg.artefacts.tables import (
    ROWS_PER_BATCH,
    column_hash,
    hash_of_columns,
    read_table,
    record_batches,
    record_schema,
    repeated_id,
    rows_of,
    scan_table,
    write_batches,
)
from sg.core.checksums import CHECKSUM_UNSET, check_file, with_checksum
from sg.core.errors import DataError
from sg.core.files import file_lock, write_text
from sg.core.places.settings import recorded_place
from sg.core.places.store import is_address

if TYPE_CHECKING:
    import pyarrow as pa

OK = "ok"
FORGOTTEN = "forgotten"
FORGOTTEN_FILE = "forgotten.txt"
"""Beside a manifest: the ids of the videos that every manifest written there leaves out."""
KIND = "manifest"
_REPEATED = "video id {!r} appears twice: ids of a manifest are unique"
_ROWS_PER_SCAN = 1000


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One video. Unknown numbers are 0 and unknown texts empty. An unusable video keeps its row."""

    video_id: str
    """Unique in the manifest and safe as a file name."""
    source: str
    """The dataset: demo, folder, webvid, ..."""
    path: str
    """Relative to the videos folder, with `/` between parts; empty only if `status` is not ok."""
    duration_s: float = 0.0
    width: int = 0
    """In pixels, after rotation, as shown."""
    height: int = 0
    fps: float = 0.0
    num_frames: int = 0
    original_caption: str = ""
    """The caption of the dataset, unchanged."""
    split: str = ""
    status: str = OK
    """`ok`, or the class of the problem: missing, empty, unreadable, no_video, corrupt, unsafe_path, ..."""
    reason: str = ""
    """One sentence that explains a status other than ok."""
    extra: str = "{}"
    """Further values of the source, as JSON text."""


@dataclass(frozen=True)
class Manifest:
    """A manifest in memory, as an Arrow table: a list of 530,000 objects would need far more memory."""

    table: pa.Table
    info: dict[str, Any] = field(default_factory=dict)
    """Provenance: source, config, fingerprint, versions."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def video_ids(self) -> list[str]:
        """Ids in the order of the rows."""
        ids: list[str] = self.table["video_id"].to_pylist()
        return ids

    @cached_property
    def content_hash(self) -> str:
        """32 hex characters over all rows and columns, in order; independent of the layout of the file."""
        return column_hash(self.table, [f.name for f in fields(VideoRecord)])

    def records(self) -> Iterator[VideoRecord]:
        """Yields the rows as objects."""
        for batch in self.table.to_batches(max_chunksize=ROWS_PER_BATCH):
            columns = [batch.column(f.name).to_pylist() for f in fields(VideoRecord)]
            for values in zip(*columns, strict=True):
                yield VideoRecord(*values)

    def usable(self) -> Manifest:
        """The rows with status ok."""
        import pyarrow.compute as pc

        return Manifest(self.table.filter(pc.equal(self.table["status"], OK)), self.info)

    def select(self, video_ids: Iterable[str]) -> Manifest:
        """These rows, in this order; DataError if an id is not in the manifest; the message names the first one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(list(video_ids), pa.string())
        rows = pc.index_in(wanted, value_set=self.table["video_id"].combine_chunks())
        if rows.null_count:
            first = wanted.filter(pc.is_null(rows))[0].as_py()
            raise DataError(f"video id {first!r} is not in the manifest of {len(self)} videos")
        return Manifest(self.table.take(rows), self.info)


def video_path(videos: Path, record: VideoRecord) -> Path:
    """The file of a record in the folder `videos`; DataError if its path leads out of the folder."""
    return resolve_inside(videos, record.path)


def write_manifest(path: Path, records: Iterable[VideoRecord], info: Mapping[str, Any] | None = None) -> Path:
    """Write records in the given order, atomically; `info` is their provenance and is stored in the file.

    Videos that `forget_in_manifest` made unusable stay unusable, also after a new scan.

    Raises:
        DataError: an id is unsafe or repeated, or a path is unsafe.
    """
    schema, gone = record_schema(VideoRecord), forgotten_ids(path.parent)
    records = (_emptied(record) if record.video_id in gone else record for record in records) if gone else records
    write_batches(path, record_batches(records, schema, _check_record, _REPEATED), schema, KIND, info or {})
    return path


def forget_in_manifest(path: Path, video_ids: Iterable[str]) -> None:
    """Make videos of the manifest at `path` unusable for good, and remove their texts."""
    ids = forgotten_ids(path.parent) | set(video_ids)
    lines = "".join(f"{video_id}\n" for video_id in sorted(ids))
    write_text(path.with_name(FORGOTTEN_FILE), with_checksum(f"{lines}# {CHECKSUM_UNSET}\n"))
    with file_lock(path.with_suffix(".lock")):
        if not path.is_file():
            return
        manifest = read_manifest(path)
        write_manifest(path, manifest.records(), manifest.info)


def forgotten_ids(folder: Path) -> set[str]:
    """The ids of the videos that were forgotten in the data of a folder.

    Raises:
        DataError: the file differs from what was written: a changed id would bring its video back.
    """
    path = folder / FORGOTTEN_FILE
    if not path.is_file():
        return set()
    check_file(path, "correct its ids, one per line, and delete its last line, which is the checksum")
    return {line for line in path.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")}


def recorded_videos(path: Path, info: Mapping[str, Any]) -> Path:
    """The folder of the video files of the manifest at `path`; beside the manifest where nothing is recorded."""
    place = str(info.get("videos") or "videos")
    return recorded_place("data.videos", place) if is_address(place) else (path.parent / place).resolve()


def _emptied(record: VideoRecord) -> VideoRecord:
    reason = "removed by `python -m sg.caption forget`"
    return replace(record, original_caption="", status=FORGOTTEN, reason=reason, extra="{}")


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        MissingInputError: there is no such file.
        DataError: it has another format, or unsafe ids or paths.
    """
    table, info = read_table(path, record_schema(VideoRecord), KIND)
    _check_table(table, path)
    _check_unique(table["video_id"], path)
    return Manifest(table, info)


def usable_ids(path: Path) -> list[str]:
    """The ids of the usable rows of a manifest in their order; no other column of ten million rows fits in memory.

    Raises the errors of `read_manifest`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    schema, every, usable = record_schema(VideoRecord), [], []
    for table in scan_table(path, schema, KIND, ROWS_PER_BATCH, ("video_id", "path", "status")):
        _check_table(table, path)
        every.append(table["video_id"])
        usable.append(table["video_id"].filter(pc.equal(table["status"], OK)))
    _check_unique(pa.chunked_array([chunk for ids in every for chunk in ids.chunks], pa.string()), path)
    return [video_id for ids in usable for video_id in ids.to_pylist()]


def records_of(path: Path, video_ids: Iterable[str]) -> dict[str, VideoRecord]:
    """The usable rows of some videos by id, in the order of the manifest."""
    wanted = set(video_ids)
    tables = scan_table(path, record_schema(VideoRecord), KIND, ROWS_PER_BATCH)
    chosen = (Manifest(rows_of(table, wanted)).usable() for table in tables)
    return {record.video_id: record for part in chosen for record in part.records()}


def scan_manifest(path: Path) -> Iterator[VideoRecord]:
    """Yield the usable rows of a manifest, read and checked in parts, so that memory does not grow with its size.

    Does not check that ids are unique. Raises the errors of `read_manifest`.
    """
    for table in scan_table(path, record_schema(VideoRecord), KIND, _ROWS_PER_SCAN):
        _check_table(table, path)
        yield from Manifest(table).usable().records()


def hash_manifest(path: Path) -> str:
    """`Manifest.content_hash` of the file at `path`, which is read in parts of a column."""
    import pyarrow as pa

    schema = record_schema(VideoRecord)

    def chunks(name: str) -> Iterator[pa.Array]:
        for table in scan_table(path, pa.schema([schema.field(name)]), KIND, ROWS_PER_BATCH):
            yield from table[name].chunks

    return hash_of_columns(schema.names, chunks)


def _check_record(record: VideoRecord) -> None:
    check_video_id(record.video_id)
    if record.path or record.status == OK:
        check_relative_path(record.path)
    try:
        if record.extra != "{}":
            json.loads(record.extra)
    except ValueError:
        raise DataError(f"extra of video {record.video_id!r} is not JSON: {record.extra[:60]!r}") from None


def _check_unique(ids: pa.ChunkedArray, path: Path) -> None:
    if (repeated := repeated_id(ids)) is not None:
        raise DataError(f"{path}: {_REPEATED.format(repeated)}")


def _check_table(table: pa.Table, path: Path) -> None:
    """The checks of `_check_record` for many rows, in Arrow: 530,000 rows take well under a second."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, paths = table["video_id"], table["path"]
    bad_id = pc.or_(
        pc.or_(pc.invert(pc.match_substring_regex(ids, ID_PATTERN)), pc.match_substring_regex(ids, RESERVED_PATTERN)),
        pc.or_(pc.ends_with(ids, "."), pc.greater(pc.binary_length(ids), pa.scalar(MAX_ID_BYTES, pa.int32()))),
    )
    if (bad := table.filter(bad_id)).num_rows:
        raise DataError(f"{path}: video id {bad['video_id'][0].as_py()[:80]!r} is not safe as a file name")
    lacks_path = pc.and_(pc.equal(paths, ""), pc.equal(table["status"], OK))
    bad_path = pc.or_(pc.match_substring_regex(paths, UNSAFE_PATH_PATTERN), lacks_path)
    if (bad := table.filter(bad_path)).num_rows:
        raise DataError(
            f"{path}: path {bad['path'][0].as_py()[:120]!r} of video {bad['video_id'][0].as_py()!r} is not a plain "
            "relative path inside the videos folder"
        )
