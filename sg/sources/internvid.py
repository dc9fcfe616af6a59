"""InternVid: JSON Lines with `YoutubeID, Start_timestamp, End_timestamp, Caption` and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sg.sources.items import Item, Problem, first_of, range_key, rounded_key, shown, text_of, youtube_id
from sg.sources.timestamps import parse_range_ms

_SCORES = {"UMT_Score": "umt_score", "CLIP_Score": "clip_score", "Aesthetic_Score": "aesthetic_score"}


class InternVid:
    """InternVid, any edition."""

    name = "internvid"
    licence = "annotations: CC BY-NC-SA 4.0, gated; films: their uploaders"

    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[Item | Problem]:
        """The clip of a line."""
        value = first_of(record, "YoutubeID", "youtube_id", "url")
        name = youtube_id(value)
        if name is None:
            yield Problem("no YouTube id", shown(value))
            return
        start = first_of(record, "Start_timestamp", "start_timestamp", "clip_start")
        end = first_of(record, "End_timestamp", "end_timestamp", "clip_end")
        span = parse_range_ms(start, end)
        if span is None:
            yield Problem("no time range", f"{shown(name)}: {shown(start)} to {shown(end)}")
            return
        scores = {key: _number(record.get(column)) for column, key in _SCORES.items()}
        yield Item(
            video_id=f"internvid-{range_key(name, span)}",
            keys=(range_key(name, span),),
            weak_keys=(rounded_key(name, span),),
            caption=text_of(first_of(record, "Caption", "caption")),
            youtube_id=name,
            range_ms=span,
            extra={key: score for key, score in scores.items() if score is not None},
        )


def _number(value: Any) -> float | None:
    """A score, which some editions write as text."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and abs(number) < 1e9 else None
