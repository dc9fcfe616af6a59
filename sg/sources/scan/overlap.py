"""The videos of a benchmark, which are left out of the training data: their YouTube ids and their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sg.sources.files.disk import Listing, list_files
from sg.sources.records.reading import read_records
from sg.sources.records.texts import SUFFIXES, BadRecord
from sg.sources.scan.items import youtube_id

_ID_COLUMNS = ("videoID", "youtube_id", "YoutubeID", "video_id", "url")


@dataclass(frozen=True, slots=True)
class BenchmarkVideos:
    """The videos of a benchmark, as far as they are known on this machine."""

    root: Path
    youtube_ids: frozenset[str] = frozenset()
    listing: Listing = field(default_factory=Listing)

    @property
    def state(self) -> list[object]:
        """Plain data that changes with the benchmark, for the identity of the scan."""
        return [sorted(self.youtube_ids), self.listing.files.state]


def benchmark_videos(place: str | None) -> BenchmarkVideos | None:
    """The YouTube ids in the tables and file names of a benchmark's folder, and its files; or the ids of one table.

    Returns None where `place` is None or does not exist; the report of a scan states it.
    """
    path = Path(place or "")
    if place is None or not path.exists():
        return None
    if path.is_file():
        return BenchmarkVideos(path.parent, frozenset(_ids_in(path)))
    listing = list_files(path)
    tables = [file for pattern in ("[!.]*", "*/[!.]*") for file in path.glob(pattern) if file.suffix in SUFFIXES]
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
