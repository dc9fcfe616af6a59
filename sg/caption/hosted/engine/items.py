"""Items: the videos to caption, their keys, and how the ledger keeps them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from sg.artefacts.manifest import VideoRecord
from sg.caption.ledger.ledger import NewTask, Task
from sg.caption.ledger.recipes import task_key


@dataclass(frozen=True, slots=True)
class CaptionItem:
    """One video of the manifest; `start_ms` and `end_ms` are its place in a longer published video, if known."""

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
    licence: str


def item_of(record: VideoRecord) -> CaptionItem:
    """The item of a manifest row."""
    extra = _extra(record)
    start, end = _number(extra.get("start_ms")), _number(extra.get("end_ms"))
    audio = extra.get("has_audio")
    parts = [record.source, record.video_id, start, end]
    return CaptionItem(
        item_key=hashlib.sha256("|".join("" if part is None else str(part) for part in parts).encode()).hexdigest(),
        video_id=record.video_id,
        source=record.source,
        split=record.split,
        path=record.path,
        duration_s=record.duration_s,
        has_audio=audio if isinstance(audio, bool) else None,
        size=_number(extra.get("bytes")) or 0,
        start_ms=start,
        end_ms=end,
        licence=str(extra.get("licence", "")),
    )


def is_in(item: CaptionItem, shard: tuple[int, int]) -> bool:
    """Whether a shard has this item; a video belongs to the same shard on every machine."""
    which, count = shard
    return int(item.item_key[:15], 16) % count == which


def new_tasks(items: Iterable[CaptionItem], recipe: str, shard: tuple[int, int]) -> Iterator[NewTask]:
    """The tasks of one shard."""
    for position, item in enumerate(items):
        if is_in(item, shard):
            described = json.dumps(astuple(item)[2:], ensure_ascii=False, separators=(",", ":"))
            yield NewTask(task_key(item.item_key, recipe), item.item_key, item.video_id, position, described)


def item_of_task(task: Task) -> CaptionItem:
    """The item as `new_tasks` put it into the ledger, so that a run does not keep the manifest in memory."""
    values = json.loads(task.item)
    # Early ledgers have two further values before the licence, which no source ever set.
    return CaptionItem(task.item_key, task.video_id, *(*values[:8], values[-1]))


def _extra(record: VideoRecord) -> Mapping[str, Any]:
    value = json.loads(record.extra)
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
