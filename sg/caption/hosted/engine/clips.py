"""Clips: what is captioned, who it is, and how the ledger names and keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from sg.artefacts.manifest import VideoRecord
from sg.caption.ledger.ledger import NewTask, Task


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of the manifest. `film_start_s` and `film_end_s` are set for a part of the file at `path`."""

    item_key: str
    video_id: str
    source: str
    split: str
    path: str
    duration_s: float
    has_audio: bool | None
    size: int
    start_ms: int | None
    end_ms: int | None
    film_start_s: float | None
    film_end_s: float | None
    licence: str


def clip_of(record: VideoRecord) -> Clip:
    """The clip of a manifest row."""
    extra = _extra(record)
    start, end = _number(extra.get("start_ms")), _number(extra.get("end_ms"))
    film_start, film_end = _number(extra.get("film_start_ms")), _number(extra.get("film_end_ms"))
    audio = extra.get("has_audio")
    parts = [record.source, record.video_id, start if film_start is None else film_start]
    parts.append(end if film_end is None else film_end)
    return Clip(
        item_key=hashlib.sha256("|".join("" if part is None else str(part) for part in parts).encode()).hexdigest(),
        video_id=record.video_id,
        source=record.source,
        split=record.split,
        path=record.path,
        duration_s=record.duration_s if film_end is None else (film_end - (film_start or 0)) / 1000,
        has_audio=audio if isinstance(audio, bool) else None,
        size=_number(extra.get("bytes")) or 0,
        start_ms=start,
        end_ms=end,
        film_start_s=None if film_start is None else film_start / 1000,
        film_end_s=None if film_end is None else film_end / 1000,
        licence=str(extra.get("licence", "")),
    )


def task_key(clip: Clip, recipe: str) -> str:
    """What a ledger calls the captioning of a clip with a recipe: the same in every ledger."""
    return hashlib.sha256(f"{clip.item_key}|{recipe}".encode()).hexdigest()


def new_tasks(records: Iterable[VideoRecord], recipe: str, shard: tuple[int, int]) -> Iterator[NewTask]:
    """The ledger's tasks of one shard: a clip belongs to the same shard on every machine."""
    which, count = shard
    for position, clip in enumerate(map(clip_of, records)):
        if int(clip.item_key[:15], 16) % count == which:
            described = json.dumps(astuple(clip)[2:], ensure_ascii=False, separators=(",", ":"))
            yield NewTask(task_key(clip, recipe), clip.item_key, clip.video_id, position, described)


def clip_of_task(task: Task) -> Clip:
    """The clip as `new_tasks` put it into the ledger, so that a run needs no manifest in memory."""
    return Clip(task.item_key, task.video_id, *json.loads(task.clip))


def _extra(record: VideoRecord) -> Mapping[str, Any]:
    value = json.loads(record.extra)
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
