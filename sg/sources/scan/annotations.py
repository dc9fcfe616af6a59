"""The annotations of a dataset: its annotation files, or the JSON that video2dataset writes beside each video file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sg.core.content import file_content
from sg.core.errors import MissingInputError
from sg.core.places.ranges import opened
from sg.core.progress import Progress
from sg.sources.files.disk import Listing, VideoFile
from sg.sources.records.columns import KEY_OF_MAP
from sg.sources.records.json_values import JsonDecoder
from sg.sources.records.reading import RecordFile, annotation_files
from sg.sources.records.texts import BadRecord
from sg.sources.scan.items import CONTRADICTION, AnnotatedVideo, Problem, SetReader, shown, sidecar_record, youtube_id

_MAX_SIDECAR = 2**24


class Annotations:
    """The videos of the annotation files; without annotation files, those of the JSON files beside the video files."""

    def __init__(self, source: SetReader, pattern: str | None, videos: Path, listing: Listing) -> None:
        self._source, self._pattern, self._videos, self._listing = source, pattern, videos, listing
        self.files = annotation_files(pattern) if pattern else []
        self.rows: Counter[str] = Counter()
        """Number of records read, by file name."""
        if not self.files and not listing.sidecars:
            raise MissingInputError(
                "There are no annotations: name a file, folder or pattern with data.annotations=FILE."
            )

    def with_listing(self, listing: Listing) -> Annotations:
        """The same annotations with the present files on disk."""
        return Annotations(self._source, self._pattern, self._videos, listing)

    @property
    def state(self) -> list[object]:
        """Name and content of every annotation file, and the state of the JSON files, for the identity of the scan."""
        return [[[path.name, file_content(path)] for path in self.files], self._listing.sidecar_state]

    def items(self) -> Iterator[tuple[AnnotatedVideo | Problem, str]]:
        """Yield every video of the annotations, or the problem of a record, with its place in the file."""
        self.rows.clear()
        for path in self.files:
            source = RecordFile(path)
            for number, record in source.records():
                self.rows[path.name] += 1
                if isinstance(record, BadRecord):
                    self._source.record_lost()
                    yield Problem(record.kind, record.reason), source.place(number)
                    continue
                for item in self._source.items(record, path.name):
                    is_other = isinstance(item, AnnotatedVideo) and _contradicts(record.get(KEY_OF_MAP), item)
                    yield Problem(CONTRADICTION, shown(record[KEY_OF_MAP])) if is_other else item, source.place(number)
        if not self.files:
            for file in self._listing.files:
                for item in self._beside.get(file.name, ()):
                    self.rows["JSON beside the video files"] += 1
                    yield item, file.name

    def keys_of(self, file: VideoFile) -> list[str]:
        """Every key under which a video file may be looked up: the ids in the JSON beside it, else its name.

        A name such as `10000007` beside a JSON file is a number of video2dataset, and the id of another video.
        """
        return self.sidecar_ids(file) or list(self._source.file_keys(file.name))

    def sidecar_ids(self, file: VideoFile) -> list[str]:
        """Ids of the videos that the JSON beside a file names."""
        if not self._listing.sidecars:
            return []
        return [item.video_id for item in self._beside.get(file.name, ()) if isinstance(item, AnnotatedVideo)]

    @cached_property
    def _beside(self) -> dict[str, list[AnnotatedVideo | Problem]]:
        """The videos of the JSON file beside each video file, by the name of the latter."""
        beside = [
            file for file in self._listing.files if file.path and file.name.rpartition(".")[0] in self._listing.sidecars
        ]
        found: dict[str, list[AnnotatedVideo | Problem]] = {}
        with Progress("JSON files", len(beside), "files") as bar:
            for file in beside:
                stem = file.name.rpartition(".")[0]
                path = self._listing.sidecars_in_shards.get(stem, file.path.rpartition(".")[0] + ".json")
                found[file.name] = list(self._read(self._videos / path, Path(file.name).parent.name))
                bar.advance()
        return found

    def _read(self, path: Path, folder: str) -> Iterator[AnnotatedVideo | Problem]:
        try:
            with opened(path) as stream:
                data = stream.read(_MAX_SIDECAR + 1)
            text = data.decode("utf-8-sig") if len(data) <= _MAX_SIDECAR else ""
        except (OSError, ValueError):
            text = ""
        value = JsonDecoder().whole(text)
        if not isinstance(value, Mapping):
            detail = f": {value.reason}" if isinstance(value, BadRecord) else ""
            yield Problem("no JSON object beside the file", path.name + detail)
            return
        yield from self._source.items(sidecar_record(value), folder)


def _contradicts(key: Any, item: AnnotatedVideo) -> bool:
    """Whether the key of a record in a map is the YouTube id of another video than the record."""
    named = youtube_id(key)
    return named is not None and item.youtube_id not in ("", named)
