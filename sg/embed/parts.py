"""The parts of an embedding run: which videos belong to which, what is done, what was left out and why.

A part is finished when its `part-00000.json` is there; that file names what the part was made from and the videos that
could not be embedded. `embeddings.json` comes last of all, so a folder without it is unfinished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import Manifest, VideoRecord
from sg.artefacts.vectors import INFO_FILE, part_path, vector_parts, write_vectors_part
from sg.core.errors import DataError
from sg.core.files import read_json, write_json
from sg.core.fingerprints import fingerprint

PARTS_VERSION = 1
"""Raised when the same films and the same embedder give other vectors than before."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A video without a vector: the class of what is wrong, and a sentence."""

    video_id: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive usable videos of a manifest; `made_from` names them, their files and the embedder."""

    index: int
    records: tuple[VideoRecord, ...]
    made_from: str


def plan_parts(manifest: Manifest, videos: Path, identity: Mapping[str, Any], rows_per_part: int) -> list[Part]:
    """Cut the usable videos into parts. A film of another size than before makes another part: it was replaced."""
    records = list(manifest.usable().records())
    parts = []
    for index, start in enumerate(range(0, len(records), rows_per_part)):
        rows = tuple(records[start : start + rows_per_part])
        files = [[row.video_id, row.path, _size(videos / row.path)] for row in rows]
        parts.append(Part(index, rows, fingerprint([PARTS_VERSION, dict(identity), files])))
    return parts


def is_done(folder: Path, part: Part) -> bool:
    """Whether the part is finished and was made from the same."""
    try:
        return part_path(folder, part.index).is_file() and _read(folder, part)["made_from"] == part.made_from
    except (DataError, OSError, KeyError, TypeError):
        return False


def write_part(folder: Path, part: Part, ids: Sequence[str], matrix: Any, left_out: Sequence[Quarantined]) -> None:
    """Write vectors [n, dim] and what was left out; the second file makes the part count."""
    write_vectors_part(folder, part.index, ids, matrix)
    write_json(_status_path(folder, part), {"made_from": part.made_from, "left_out": [asdict(row) for row in left_out]})


def left_out(folder: Path, part: Part) -> list[Quarantined]:
    """The videos of a finished part that have no vector."""
    return [Quarantined(**row) for row in _read(folder, part)["left_out"]]


def clear_stale(folder: Path, parts: Sequence[Part]) -> None:
    """Mark the folder as unfinished, and remove parts that are not among these and what a kill left half written."""
    (folder / INFO_FILE).unlink(missing_ok=True)
    for leftover in folder.glob(".*.tmp*"):
        leftover.unlink()
    wanted = {part_path(folder, part.index).name for part in parts if is_done(folder, part)}
    for path in vector_parts(folder):
        if path.name not in wanted:
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink()


def _status_path(folder: Path, part: Part) -> Path:
    return part_path(folder, part.index).with_suffix(".json")


def _read(folder: Path, part: Part) -> dict[str, Any]:
    value = read_json(_status_path(folder, part))
    if not isinstance(value, dict):
        raise DataError(f"{_status_path(folder, part)} should hold an object; delete it and run the command again.")
    return value


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
