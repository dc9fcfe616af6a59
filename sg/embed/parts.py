"""The parts of an embedding run: which videos belong to which, what is done, what was left out and why.

A part is finished when its `part-00000.json` is there; that file names what the part was made from, the settings, the
checksum of the vectors, how every film's file looked, and the videos that could not be embedded. `embeddings.json`
comes last of all, so a folder without it is unfinished.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import Manifest, VideoRecord
from sg.artefacts.vectors import INFO_FILE, part_path, vector_parts, write_vectors_part
from sg.core.errors import DataError
from sg.core.files import read_json, write_json
from sg.core.fingerprints import file_hash, fingerprint
from sg.embed.films import FilmStamp, is_replaced, look_at

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
    settings: Mapping[str, Any]
    """The identity of the embedder."""
    looks: tuple[FilmStamp, ...]
    """How the files look now."""


@dataclass(frozen=True, slots=True)
class PartState:
    """What an earlier run left of a part."""

    is_done: bool
    is_damaged: bool = False
    """Whether its vectors are not those that were written."""
    replaced: tuple[str, ...] = ()
    """Videos whose files are other ones than those that were read."""


def plan_parts(manifest: Manifest, videos: Path, identity: Mapping[str, Any], rows_per_part: int) -> list[Part]:
    """Cut the usable videos into parts. A film of another size than before makes another part: it was replaced."""
    records = list(manifest.usable().records())
    parts = []
    for index, start in enumerate(range(0, len(records), rows_per_part)):
        rows = tuple(records[start : start + rows_per_part])
        looks = tuple(look_at(videos / row.path) for row in rows)
        files = [[row.video_id, row.path, look.size] for row, look in zip(rows, looks, strict=True)]
        made_from = fingerprint([PARTS_VERSION, dict(identity), files])
        parts.append(Part(index, rows, made_from, identity, looks))
    return parts


def part_state(folder: Path, part: Part, videos: Path) -> PartState:
    """Whether the part is finished, was made from the same, and is as it was written."""
    path = part_path(folder, part.index)
    before = _read(folder, part)
    if before is None or not path.is_file():
        return PartState(is_done=False)
    replaced = tuple(_replaced(before, part, videos))
    is_same = before["made_from"] == part.made_from and not replaced
    is_damaged = is_same and before.get("checksum", "") not in ("", file_hash(path))
    return PartState(is_same and not is_damaged, is_damaged, replaced)


def _replaced(before: Mapping[str, Any], part: Part, videos: Path) -> Iterator[str]:
    stamps = before.get("films", {})
    for record, look in zip(part.records, part.looks, strict=True):
        stamp = stamps.get(record.video_id)
        if stamp is not None and is_replaced(videos / record.path, FilmStamp(*stamp), look):
            yield record.video_id


def other_settings(folder: Path, part: Part) -> dict[str, tuple[Any, Any]]:
    """Settings in which a part on disk differs from those wanted: key to (there, wanted)."""
    before = (_read(folder, part) or {}).get("settings", part.settings)
    keys = sorted(set(before) | set(part.settings))
    return {key: (before.get(key), part.settings.get(key)) for key in keys if before.get(key) != part.settings.get(key)}


def write_part(
    folder: Path,
    part: Part,
    ids: Sequence[str],
    matrix: Any,
    left_out: Sequence[Quarantined],
    stamps: Sequence[FilmStamp],
) -> None:
    """Write vectors [n, dim] and what was left out; the second file makes the part count."""
    path = write_vectors_part(folder, part.index, ids, matrix)
    films = {record.video_id: list(astuple(stamp)) for record, stamp in zip(part.records, stamps, strict=True)}
    status = {
        "made_from": part.made_from,
        "settings": dict(part.settings),
        "checksum": file_hash(path),
        "left_out": [asdict(row) for row in left_out],
        "films": films,
    }
    write_json(_status_path(folder, part), status)


def left_out(folder: Path, part: Part) -> list[Quarantined]:
    """The videos of a finished part that have no vector."""
    return [Quarantined(**row) for row in (_read(folder, part) or {}).get("left_out", ())]


def clear_stale(folder: Path, parts: Sequence[Part]) -> None:
    """Mark the folder as unfinished, keep the finished `parts`, and remove others and what a kill left half written."""
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
    """The status file of a part; None when there is none or it is damaged: the part is made again then."""
    try:
        value = read_json(_status_path(folder, part))
    except (DataError, OSError):
        return None
    return value if isinstance(value, dict) and {"made_from", "left_out"} <= set(value) else None
