"""InternVid: JSON Lines with `YoutubeID, Start_timestamp, End_timestamp, Caption` and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sg.sources.scan.items import Item, Problem, film_part, first_of, range_key, rounded_key, text_of
from sg.sources.scan.numbered import Numbering

_SCORES = {"UMT_Score": "umt_score", "CLIP_Score": "clip_score", "Aesthetic_Score": "aesthetic_score"}


class InternVid:
    """InternVid, any edition; `numbering` knows the films whose clips are on disk by their number alone."""

    name = "internvid"
    licence = "annotations: CC BY-NC-SA 4.0, gated; films: their uploaders"

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[Item | Problem]:
        """The clip of a line."""
        part = film_part(
            record,
            ("YoutubeID", "youtube_id", "url"),
            ("Start_timestamp", "start_timestamp", "clip_start"),
            ("End_timestamp", "end_timestamp", "clip_end"),
        )
        if isinstance(part, Problem):
            yield part
            return
        scores = {key: _number(record.get(column)) for column, key in _SCORES.items()}
        yield Item(
            video_id=f"internvid-{range_key(*part)}",
            keys=(range_key(*part), *self._numbering.keys(*part)),
            weak_keys=(rounded_key(*part),),
            caption=text_of(first_of(record, "Caption", "caption")),
            youtube_id=part[0],
            range_ms=part[1],
            extra={key: score for key, score in scores.items() if score is not None},
        )


def _number(value: Any) -> float | None:
    """A score, which some editions write as text."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and abs(number) < 1e9 else None
