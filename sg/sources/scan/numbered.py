"""Files named `<YouTube id>/<n>`: clip n of a YouTube video, in the order of the annotations.

Such a name does not contain the time range, so that the duration of the file has to agree with the annotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sg.sources.files.disk import VideoFile
from sg.sources.scan.items import youtube_id

_NUMBER = re.compile(r"[0-9]{1,6}", re.ASCII)


def numbered_clip(name: str) -> tuple[str, int] | None:
    """YouTube id and number of a file on disk; None where its folder and name have another form."""
    folders, _, file = name.rpartition("/")
    name_id, stem = youtube_id(folders.rpartition("/")[2]), file.rpartition(".")[0]
    return (name_id, int(stem)) if name_id and _NUMBER.fullmatch(stem) else None


def number_key(youtube: str, number: int) -> str:
    """The key of clip `number` of a YouTube video."""
    return f"{youtube}#{number}"


@dataclass(slots=True)
class Numbering:
    """Numbers the time ranges of YouTube videos with numbered files, in the order of the annotations, from `first`.

    Only videos with numbered files are kept: the annotations have far more.
    """

    first: int
    ranges: dict[str, dict[tuple[int, int], int]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Videos of which no further time range gets a number."""

    @classmethod
    def of(cls, files: Iterable[VideoFile]) -> Numbering:
        """The YouTube videos with numbered files on disk. A file 0 anywhere means that all are counted from 0."""
        found = [numbered for file in files if (numbered := numbered_clip(file.name))]
        first = 0 if any(number == 0 for _, number in found) else 1
        return cls(first, {youtube: {} for youtube, _ in found})

    def keys(self, youtube: str, range_ms: tuple[int, int]) -> tuple[str, ...]:
        """The key of a time range by its number; empty where the number is unknown. A range keeps its number.

        After a range that is there twice the numbers are unknown: the files may have been numbered by range or by row.
        """
        ranges = self.ranges.get(youtube)
        if ranges is None:
            return ()
        if range_ms in ranges:
            self.closed.add(youtube)
        elif youtube not in self.closed:
            ranges[range_ms] = self.first + len(ranges)
        return (number_key(youtube, ranges[range_ms]),) if range_ms in ranges else ()

    def lose_count(self, youtube: str | None) -> None:
        """A record could not be read: the numbers after it are unknown, of this YouTube video or of any (None)."""
        self.closed.update(self.ranges if youtube is None else [youtube])
