"""What a benchmark's videos are, for keeping them out of the training data: YouTube ids and films."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sg.sources.scan.disk import Listing, list_files
from sg.sources.scan.items import youtube_id
from sg.sources.scan.records import SUFFIXES, BadRecord, read_records

_ID_COLUMNS = ("videoID", "youtube_id", "YoutubeID", "video_id", "url")


@dataclass(frozen=True, slots=True)
class BenchmarkVideos:
    """The videos of a benchmark, as far as they are known here."""

    root: Path
    youtube_ids: frozenset[str] = frozenset()
    listing: Listing = field(default_factory=Listing)

    @property
    def state(self) -> list[object]:
        """Plain data that changes when the benchmark does."""
        return [sorted(self.youtube_ids), self.listing.state]


def benchmark_videos(place: str | None) -> BenchmarkVideos | None:
    """YouTube ids in the tables and film names of a benchmark's folder, or of one table; and its films.

    None when no place is given or nothing is there; the report of a scan says so.
    """
    path = Path(place or "")
    if place is None or not path.exists():
        return None
    if path.is_file():
        return BenchmarkVideos(path.parent, frozenset(_ids_in(path)))
    listing = list_files(path)
    tables = [file for pattern in ("*", "*/*") for file in path.glob(pattern) if file.suffix in SUFFIXES]
    ids = {found for file in sorted(tables) if file.is_file() for found in _ids_in(file)}
    return BenchmarkVideos(
        path, frozenset(ids | {file.stem for file in listing.files if youtube_id(file.stem)}), listing
    )


def _ids_in(path: Path) -> Iterator[str]:
    for record in read_records(path):
        if not isinstance(record, BadRecord):
            for column in _ID_COLUMNS:
                if (found := youtube_id(record.get(column))) is not None:
                    yield found
