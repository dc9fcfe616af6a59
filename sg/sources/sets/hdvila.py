"""HD-VILA-100M: JSON Lines, one object per YouTube video with its clips.

A row of the manifest is a clip, a window of consecutive clips, or the whole video.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError
from sg.sources.config import AnnotatedDataConfig
from sg.sources.registry import SOURCES
from sg.sources.scan.annotated import scan_annotated
from sg.sources.scan.items import AnnotatedVideo, Problem, SetReader, first_of, range_key, shown, text_of, youtube_id
from sg.sources.scan.timestamps import parse_range_ms

_CLIP_ID = re.compile(r"([A-Za-z0-9_-]{11})\.([0-9]{1,9})(?:\.mp4)?", re.ASCII)
_MAX_CLIPS = 100_000
HDVILA_UNITS = ("clip", "window", "video")


@dataclass
class HdVilaDataConfig(AnnotatedDataConfig):
    """HD-VILA-100M.

    Attributes:
        unit: a row of the manifest is a `clip` of the annotations, a `window` of consecutive clips, or the `video`.
        window_s: greatest length of a window.
    """

    unit: str = "clip"
    window_s: float = 300.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit not in HDVILA_UNITS or not self.window_s > 0:
            raise ConfigError(
                f"data.unit={self.unit!r} should be one of {', '.join(HDVILA_UNITS)}, and "
                f"data.window_s={self.window_s} above 0."
            )


class HdVila(SetReader):
    """HD-VILA-100M. Its clips were cut at key frames: a file may be seconds longer than its time range."""

    name = "hdvila"
    licence = "Research Use of Data Agreement 1.0, non-commercial research; videos: property of their uploaders"
    published = False

    def __init__(self, unit: str, window_s: float) -> None:
        self._unit, self._window_ms = unit, round(window_s * 1000)

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[AnnotatedVideo | Problem]:
        """The clips, the windows or the whole video of a line."""
        value = first_of(record, "video_id", "url")
        name = youtube_id(value)
        if name is None:
            yield Problem("no YouTube id", shown(value))
            return
        if self._unit == "video":
            caption = text_of(record.get("caption"))
            yield AnnotatedVideo(f"hdvila-{name}", (name,), caption=caption, youtube_id=name)
            return
        clips = record.get("clip")
        if not isinstance(clips, list) and "clip_start" in record:  # the JSON beside a file that video2dataset cut
            clips = [{"clip_id": record.get("clip_id"), "span": [record["clip_start"], record.get("clip_end")]}]
        if not isinstance(clips, list) or len(clips) > _MAX_CLIPS:
            yield Problem("no list of clips", shown(name))
            return
        parts = [self._part(name, clip) for clip in clips]
        yield from (part for part in parts if isinstance(part, Problem))
        good = [part for part in parts if isinstance(part, AnnotatedVideo)]
        yield from good if self._unit == "clip" else self._windows(name, good)

    def _part(self, name: str, clip: Any) -> AnnotatedVideo | Problem:
        span = clip.get("span") if isinstance(clip, Mapping) else None
        times = parse_range_ms(*span) if isinstance(span, (list, tuple)) and len(span) == 2 else None
        if times is None:
            return Problem("no time range", f"{shown(name)}: {shown(span)}")
        clip_id = clip.get("clip_id")
        found = _CLIP_ID.fullmatch(clip_id) if isinstance(clip_id, str) else None
        if clip_id is not None and (found is None or found[1] != name):
            return Problem("no clip id", shown(clip_id))
        stem = f"{name}.{found[2]}" if found else range_key(name, times)
        return AnnotatedVideo(f"hdvila-{stem}", (stem, range_key(name, times)), youtube_id=name, range_ms=times)

    def _windows(self, name: str, clips: list[AnnotatedVideo]) -> Iterator[AnnotatedVideo]:
        """Group consecutive clips into windows: as many as begin and end within `window_s`, at least one."""
        spans = sorted(clip.range_ms for clip in clips if clip.range_ms is not None)
        starts: list[int] = []
        for start, end in spans:
            starts.append(starts[-1] if starts and end - starts[-1] <= self._window_ms else start)
        for first, group in groupby(zip(starts, spans, strict=True), key=lambda pair: pair[0]):
            window = (first, max(span[1] for _, span in group))
            key = range_key(name, window)
            yield AnnotatedVideo(f"hdvila-{key}", (key,), youtube_id=name, range_ms=window)


@SOURCES.register("hdvila", HdVilaDataConfig)
def scan_hdvila(config: HdVilaDataConfig) -> Path:
    """Make the manifest of the dataset, or keep it when nothing has changed; see `scan_annotated`."""
    return scan_annotated(config, lambda files: HdVila(config.unit, config.window_s))
