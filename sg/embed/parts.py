"""The parts of an embedding run: which videos belong to which, what is finished, what was left out and why.

A part is finished when its `part-00000.json` exists; that file records the identity of the part, the checksum of the
vectors, the stamp of every video file, and the videos that could not be embedded. `embeddings.json` is written last, so
a folder without it is unfinished.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import FORGOTTEN, OK, Manifest, VideoRecord
from sg.artefacts.vectors import INFO_FILE, part_path, vector_parts, write_vectors_part
from sg.core.files import read_record, write_record
from sg.core.fingerprints import file_hash, fingerprint
from sg.core.identity import Change, Identity, differences, made_by, recorded
from sg.embed.video_files import FileStamp, is_replaced, stamp_of


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A video without a vector: the class of what is wrong, and a sentence."""

    video_id: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive usable videos of a manifest.

    Attributes:
        index: number of the part.
        records: the rows of the manifest.
        work: the identity of the part: the embedder, the videos, and the sizes of their files.
        stamps: the present stamps of the files.
    """

    index: int
    records: tuple[VideoRecord, ...]
    work: Identity
    stamps: tuple[FileStamp, ...]


@dataclass(frozen=True, slots=True)
class PartState:
    """What an earlier run left of a part.

    Attributes:
        is_done: whether its vectors can be used.
        is_damaged: whether its vectors differ from those that were written.
        replaced: videos whose files were replaced since they were read.
    """

    is_done: bool
    is_damaged: bool = False
    replaced: tuple[str, ...] = ()


def plan_parts(manifest: Manifest, videos: Path, embedding: Identity, rows_per_part: int) -> list[Part]:
    """Divide the usable videos into parts.

    A video counts by its id and the size of its file, never by the path of the file: a moved folder of videos gives the
    same parts. `part_state` detects a replaced file of the same size by its stamp.
    """
    # Forgotten videos keep their place, so that only the part of such a video is made again.
    records = [record for record in manifest.records() if record.status in (OK, FORGOTTEN)]
    parts = []
    for index, start in enumerate(range(0, len(records), rows_per_part)):
        rows = tuple(row for row in records[start : start + rows_per_part] if row.status == OK)
        if not rows:
            continue
        stamps = tuple(stamp_of(videos / row.path) for row in rows)
        files = [[row.video_id, stamp.size] for row, stamp in zip(rows, stamps, strict=True)]
        inputs = {**embedding.inputs, "videos": fingerprint(files)}
        work = dataclasses.replace(embedding, step="embedding part", inputs=inputs)
        parts.append(Part(index, rows, work, stamps))
    return parts


def part_state(folder: Path, part: Part, videos: Path) -> PartState:
    """Whether the part is finished, has the same identity, and is as it was written."""
    path = part_path(folder, part.index)
    before = _read(folder, part)
    if before is None or not path.is_file():
        return PartState(is_done=False)
    replaced = tuple(_replaced(before, part, videos))
    is_same = before["made_by"] == part.work.name and not replaced
    is_damaged = is_same and before.get("checksum", "") not in ("", file_hash(path))
    return PartState(is_same and not is_damaged, is_damaged, replaced)


def _replaced(before: Mapping[str, Any], part: Part, videos: Path) -> Iterator[str]:
    known = before.get("files", {})
    for record, now in zip(part.records, part.stamps, strict=True):
        stamp = known.get(record.video_id)
        if stamp is not None and is_replaced(videos / record.path, FileStamp(*stamp), now):
            yield record.video_id


def other_settings(folder: Path, part: Part) -> list[Change]:
    """In which settings and facts of the model a part on disk differs from `part`; empty where none is on disk."""
    before = recorded(_read(folder, part) or {})
    changes = [] if before is None else differences(before, part.work)
    return [change for change in changes if change.key.startswith(("settings.", "inputs.model"))]


def write_part(
    folder: Path,
    part: Part,
    ids: Sequence[str],
    matrix: Any,
    left_out: Sequence[Quarantined],
    stamps: Sequence[FileStamp],
) -> None:
    """Write vectors [n, dim] and what was left out; the second file, written last, marks the part as finished."""
    path = write_vectors_part(folder, part.index, ids, matrix)
    files = {record.video_id: list(astuple(stamp)) for record, stamp in zip(part.records, stamps, strict=True)}
    status = {
        **made_by(part.work),
        "checksum": file_hash(path),
        "left_out": [asdict(row) for row in left_out],
        "files": files,
    }
    write_record(_status_path(folder, part), status)


def left_out(folder: Path, part: Part) -> list[Quarantined]:
    """The videos of a finished part that have no vector."""
    return [Quarantined(**row) for row in (_read(folder, part) or {}).get("left_out", ())]


def clear_stale(folder: Path, parts: Sequence[Part]) -> None:
    """Mark the folder as unfinished, keep the finished `parts`, and delete other parts and incomplete files."""
    (folder / INFO_FILE).unlink(missing_ok=True)
    for leftover in folder.glob(".*.tmp*"):
        leftover.unlink()
    wanted = {part_path(folder, part.index).name for part in parts}
    for path in vector_parts(folder):
        if path.name not in wanted:
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink()


def _status_path(folder: Path, part: Part) -> Path:
    return part_path(folder, part.index).with_suffix(".json")


def _read(folder: Path, part: Part) -> dict[str, Any] | None:
    """The status file of a part; None if there is none or it is damaged, in which case the part is made again."""
    value = read_record(_status_path(folder, part))
    return value if {"made_by", "left_out"} <= set(value) else None
