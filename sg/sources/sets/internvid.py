"""InternVid: JSON Lines with `YoutubeID, Start_timestamp, End_timestamp, Caption` and scores."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError
from sg.sources.config import AnnotatedDataConfig
from sg.sources.registry import SOURCES
from sg.sources.scan.annotated import scan_annotated
from sg.sources.scan.items import (
    AnnotatedVideo,
    Problem,
    SetReader,
    caption_of,
    first_of,
    name_keys,
    range_key,
    rounded_key,
    video_part,
    youtube_id,
)
from sg.sources.scan.numbered import Numbering, number_key, numbered_clip

_ID_COLUMNS = ("YoutubeID", "youtube_id", "url")
_SCORES = {"UMT_Score": "umt_score", "CLIP_Score": "clip_score", "Aesthetic_Score": "aesthetic_score"}


@dataclass
class InternVidDataConfig(AnnotatedDataConfig):
    """InternVid, any edition.

    Attributes:
        pattern: regular expression for file names without suffix, with the groups `id`, `start` and `end`; null
            accepts the usual forms.
    """

    pattern: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern is None:
            return
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise ConfigError(f"data.pattern={self.pattern!r} is not a regular expression: {error}.") from error
        if not {"id", "start", "end"} <= groups:
            raise ConfigError(f"data.pattern={self.pattern!r} should have the groups (?P<id>), (?P<start>), (?P<end>).")


class InternVid(SetReader):
    """InternVid, any edition; `numbering` numbers the clips of videos whose files are named by a number alone."""

    name = "internvid"
    licence = "annotations: CC BY-NC-SA 4.0, gated; videos: property of their uploaders"

    def __init__(self, numbering: Numbering, pattern: str | None = None) -> None:
        self._numbering, self._pattern = numbering, re.compile(pattern) if pattern else None

    def file_keys(self, name: str) -> Iterable[str]:
        """The keys of the file's own name, by the configured pattern, and of its number below a folder of that id."""
        yield from name_keys(name.rpartition("/")[2].rpartition(".")[0], self._pattern)
        if numbered := numbered_clip(name):
            yield number_key(*numbered)

    def lacks_time_range(self, name: str) -> bool:
        """Whether the file is named `<YouTube id>/<n>`."""
        return numbered_clip(name) is not None

    def record_lost(self) -> None:
        """The record may have been a clip of any video."""
        self._numbering.lose_count(None)

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[AnnotatedVideo | Problem]:
        """The clip of a line."""
        part = video_part(
            record,
            _ID_COLUMNS,
            ("Start_timestamp", "start_timestamp", "clip_start"),
            ("End_timestamp", "end_timestamp", "clip_end"),
        )
        if isinstance(part, Problem):
            self._numbering.lose_count(youtube_id(first_of(record, *_ID_COLUMNS)))
            yield part
            return
        scores = {key: _number(record.get(column)) for column, key in _SCORES.items()}
        caption, problem = caption_of(first_of(record, "Caption", "caption"))
        yield AnnotatedVideo(
            video_id=f"internvid-{range_key(*part)}",
            keys=(range_key(*part), *self._numbering.keys(*part)),
            weak_keys=(rounded_key(*part),),
            caption=caption,
            caption_problem=problem,
            youtube_id=part[0],
            range_ms=part[1],
            extra={key: score for key, score in scores.items() if score is not None},
        )


def _number(value: Any) -> float | None:
    """A score as a number; some editions write it as text."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and abs(number) < 1e9 else None


@SOURCES.register("internvid", InternVidDataConfig)
def scan_internvid(config: InternVidDataConfig) -> Path:
    """Make the manifest of the dataset, or keep it when nothing has changed; see `scan_annotated`."""
    return scan_annotated(config, lambda files: InternVid(Numbering.of(files), config.pattern))
