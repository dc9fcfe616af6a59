"""Clips named `<YouTube id>/<n>`: the n-th range that the annotations have of a film.

Nothing in such a name says which range it is, so the film's length has to agree with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sg.sources.scan.disk import VideoFile
from sg.sources.scan.items import AnnotatedVideo, youtube_id

_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)
_SLACK_S, _SLACK = 1.0, 0.1


def numbered_clip(name: str) -> tuple[str, int] | None:
    """YouTube id and number of a clip on disk; None where its name and folder are something else."""
    folders, _, file = name.rpartition("/")
    film, stem = youtube_id(folders.rpartition("/")[2]), file.rpartition(".")[0]
    return (film, int(stem)) if film and _NUMBER.fullmatch(stem) else None


def number_key(film: str, number: int) -> str:
    """The key of the clip of that number."""
    return f"{film}#{number}"


@dataclass(slots=True)
class Numbering:
    """Numbers the ranges of the films that have numbered clips, in the order of the annotations, from `first`.

    Only these films are remembered: there are far more in the annotations.
    """

    first: int
    ranges: dict[str, dict[tuple[int, int], int]] = field(default_factory=dict)

    @classmethod
    def of(cls, clips: Iterable[VideoFile]) -> Numbering:
        """The films on disk that have numbered clips. A clip 0 anywhere means that all are counted from 0."""
        found = [numbered for clip in clips if (numbered := numbered_clip(clip.name))]
        first = 0 if any(number == 0 for _, number in found) else 1
        return cls(first, {film: {} for film, _ in found})

    def keys(self, film: str, range_ms: tuple[int, int]) -> tuple[str, ...]:
        """The key of a range by its number; none for other films. A range that comes again keeps its number."""
        ranges = self.ranges.get(film)
        if ranges is None:
            return ()
        return (number_key(film, ranges.setdefault(range_ms, self.first + len(ranges))),)


def is_as_long(item: AnnotatedVideo, duration_s: float) -> bool:
    """Whether a film may be the range of `item`: within a second and a tenth of its length."""
    if item.range_ms is None:
        return True
    seconds = (item.range_ms[1] - item.range_ms[0]) / 1000
    return abs(duration_s - seconds) <= _SLACK_S + _SLACK * seconds
