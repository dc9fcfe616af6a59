"""The videos that a JSON file lists beside its records, and the file of a video that a record names by an id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from sg.sources.files.disk import VIDEO_SUFFIXES
from sg.sources.records.columns import VIDEO_KEYS
from sg.sources.records.texts import BadRecord

VIDEO_LISTS = {"clips": "clip", "media": "media", "images": "image", "videos": "video"}
"""Lists of videos, parts before wholes, and the word by which keys of records name a video of each."""
FILE_KEYS = tuple(key for key in VIDEO_KEYS if not key.casefold().endswith("id"))
NO_FILE = "a number of a video whose file is not named"
_IDS = ("id", "uid", "uuid", "guid")
_OWN = ("uid", "uuid", "guid", "vid", "key", "youtubeid", "ytid")
"""Keys of ids without a word, of which a record may have one of its video; its `id` counts records in most files."""
_ENDINGS = tuple(VIDEO_SUFFIXES)


def is_file(text: str) -> bool:
    """Whether a text ends in the suffix of a video file."""
    return text.casefold().endswith(_ENDINGS)


def names_files(values: Iterable[Mapping[str, Any]]) -> bool:
    """Whether objects have the name of a video file as a key or a value."""
    return any(
        is_file(name) or (isinstance(text, str) and is_file(text)) for value in values for name, text in value.items()
    )


class ListedVideos:
    """The files of the listed videos, by the names of their lists and their ids.

    `are_elsewhere` says that other parts of the JSON file name video files too.
    """

    def __init__(self) -> None:
        self.are_elsewhere = False
        self._files: dict[str, dict[str, set[str]]] = {}
        self._stems: dict[str, str] = {}

    def add(self, name: str, video: Any) -> None:
        """Add a video of the list `name`."""
        file = _file_of(video) if isinstance(video, Mapping) else ""
        self.are_elsewhere = self.are_elsewhere or (isinstance(video, str) and is_file(video))
        if not file:
            return
        word = VIDEO_LISTS[name]
        ids = {*(word + one for one in _IDS), "id", *_OWN, word}
        self._stems[PurePosixPath(file).stem] = file
        for key, value in video.items():
            if _folded(key) in ids and (number := _plain(value)) and number != file:
                self._files.setdefault(name, {}).setdefault(number, set()).add(file)

    def with_file(self, record: Mapping[str, Any]) -> Mapping[str, Any] | BadRecord:
        """The record with the file of its video. Where videos have files, a number is never the name of another file.

        An id belongs to the list that its key names; where there is only one list, to this one.
        """
        if not (self._files or self.are_elsewhere):
            return record
        own = [value for key, value in record.items() if isinstance(value, str) and str(key).casefold() in FILE_KEYS]
        key, number, found = next(self._references(record), ("", "", set[str]()))
        if own and (any(map(is_file, own)) or not found):
            return record
        if number in own and number in self._stems:  # the name of a file, and the id of a video
            found = found | {self._stems[number]}
        if len(found) == 1:
            file = next(iter(found))
            return {**record, key: file, "video": file}
        if found or not number or number.isdigit():
            return BadRecord(NO_FILE + (" (several have it)" if found else ""))
        return record

    def _references(self, record: Mapping[str, Any]) -> Iterator[tuple[str, str, set[str]]]:
        """The keys by which a record may name its video, the most certain first, with the id and the files of it."""
        keys = {_folded(key): key for key, value in record.items() if _plain(value)}
        lists = list(self._files)
        named = [(name, word + one) for one in _IDS for name, word in VIDEO_LISTS.items()]
        named = sorted((*named, *VIDEO_LISTS.items()), key=lambda pair: pair[0] not in lists)
        for name, form in (*named, *(("", form) for form in (*_OWN, "id"))):
            if (key := keys.get(form)) is not None:
                number = _plain(record[key])
                within = [name] if name and len(lists) > 1 else lists
                found = set[str]().union(*(self._files.get(one, {}).get(number, ()) for one in within))
                if form != "id" or (found and not number.isdigit()):
                    yield key, number, found


def _file_of(video: Mapping[str, Any]) -> str:
    """The file of a listed video: a text with a suffix, else that of a usual key, or its name; "" without one."""
    texts = {str(key).casefold(): value for key, value in video.items() if isinstance(value, str) and value.strip()}
    usual = [texts[key] for key in FILE_KEYS if key in texts]
    return next(iter((*filter(is_file, usual), *filter(is_file, texts.values()), *usual, texts.get("name", ""))))


def _folded(key: object) -> str:
    return re.sub(r"[\s_-]", "", str(key).casefold())


def _plain(number: Any) -> str:
    """An id as a text, also one that pandas made a floating-point number; "" for other values."""
    if not isinstance(number, (str, int, float)) or isinstance(number, bool):
        return ""
    return str(int(number) if isinstance(number, float) and number.is_integer() else number)
