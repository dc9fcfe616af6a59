"""Kinetics-400: CSV with `label, youtube_id, time_start, time_end, split`; files `<id>_<start>_<end>.mp4`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.sources.config import AnnotatedDataConfig
from sg.sources.records.columns import KEY_OF_MAP
from sg.sources.registry import SOURCES
from sg.sources.scan.annotated import scan_annotated
from sg.sources.scan.items import (
    AnnotatedVideo,
    Problem,
    SetReader,
    any_part_key,
    first_of,
    range_key,
    split_of,
    text_of,
    video_part,
)

REPLACEMENTS = "replacement_for_corrupted_k400"
"""Folder of the mirror with good copies of files that are corrupt in the main folders."""


def kinetics_item(
    name: str, span: tuple[int, int], caption: str, split: str, extra: Mapping[str, Any]
) -> AnnotatedVideo:
    """The video of a YouTube id and time range.

    A class label fits any part of the video: the file is found by id and start, or by the id alone where one file has
    it. A caption belongs to its time range: only a file of that range is its own, or one without times in its name.
    """
    return AnnotatedVideo(
        video_id=f"kinetics400-{range_key(name, span)}",
        keys=(range_key(name, span), *(() if caption else (f"{name}@{span[0]}",))),
        weak_keys=(name if caption else any_part_key(name),),
        hints=(REPLACEMENTS, *([split] if split else [])),
        caption=caption,
        split=split,
        youtube_id=name,
        range_ms=span,
        extra=extra,
    )


@dataclass
class Kinetics400DataConfig(AnnotatedDataConfig):
    """Kinetics-400."""


class Kinetics400(SetReader):
    """Kinetics-400. A class label is not a caption: it is kept in `extra` as `label`."""

    name = "kinetics400"
    licence = "annotations: CC BY 4.0; videos: property of their uploaders"

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[AnnotatedVideo | Problem]:
        """The video of a row, or of an entry of the official JSON."""
        record = _as_row(record)
        ids = ("youtube_id", "YoutubeID", "url", "id", KEY_OF_MAP)
        part = video_part(record, ids, ("time_start", "clip_start"), ("time_end", "clip_end"))
        if isinstance(part, Problem):
            yield part
            return
        label = text_of(first_of(record, "label"))
        split = text_of(first_of(record, "split"))
        split = {"validate": "val", "validation": "val", "training": "train"}.get(split, split) or split_of(origin)
        yield kinetics_item(*part, "", split[:40], {"label": label} if label else {})


def _as_row(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record of the official JSON, {annotations: {label, segment}, subset, url}, with the columns of the CSV."""
    notes = record.get("annotations")
    if not isinstance(notes, Mapping):
        return record
    times = notes.get("segment")
    start, end = times if isinstance(times, list) and len(times) == 2 else (None, None)
    row = {"time_start": start, "time_end": end, "label": notes.get("label"), "split": record.get("subset")}
    return {**record, **{column: value for column, value in row.items() if value is not None}}


@SOURCES.register("kinetics400", Kinetics400DataConfig)
def scan_kinetics400(config: Kinetics400DataConfig) -> Path:
    """Make the manifest of the dataset, or keep it when nothing has changed; see `scan_annotated`."""
    return scan_annotated(config, lambda files: Kinetics400())
