"""Objects with lists of records, such as MSR-VTT and COCO: `{"info": ..., "videos": [...], "annotations": [...]}`.

The lists with usual names are read. No other part of the file may hold captions. A number is that of a listed video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.sources.files.disk import VIDEO_SUFFIXES
from sg.sources.records.columns import TURN_KEYS, VIDEO_KEYS, folded
from sg.sources.records.json_values import JsonScanner
from sg.sources.records.texts import BadRecord

_NUMBERS = {"videos": "video_id", "images": "image_id", "clips": "clip_id", "media": "media_id"}
"""Lists of videos, and the key by which records name a video of each."""
_RECORD_LISTS = frozenset(
    ("annotations", "sentences", "captions", "data", "records", "samples", "items", "rows", "entries", "examples")
)
LISTS = _NUMBERS.keys() | _RECORD_LISTS
_CAPTIONS = folded(("caption", "captions", "sentence", "sentences", *TURN_KEYS))
"""Keys of captions only: `name`, `title` and `description` are also those of licences and videos."""
_TEXTS = folded(("text", "texts", "description", "descriptions"))
"""Keys of captions in an object that also names a file."""
_FILE_KEYS = tuple(key for key in VIDEO_KEYS if not key.casefold().endswith("id"))
_ENDINGS = tuple(VIDEO_SUFFIXES)
NO_FILE = "a number of a video whose file is not named"


def listed_records(path: Path) -> Iterator[Any | BadRecord]:
    """The records of the lists. A record that names its video by a number gets the file name of this video.

    Raises:
        DataError: a member that is not read has captions.
    """
    lists: set[str] = set()
    unread, videos = "", _Videos()
    for name, value, is_element in JsonScanner(path).members(LISTS):
        key = name.casefold()
        if is_element and key in _RECORD_LISTS:
            lists.add(key)
        elif is_element:
            lists.add(key)
            unread = unread or (name if _has_captions(value) else "")
            videos.add(key, value)
        else:
            videos.are_elsewhere = videos.are_elsewhere or any(map(_names_files, _objects([value])))
            if has_captions(name, value):
                unread, lists = name, lists | _RECORD_LISTS
    of_videos = _NUMBERS.keys() if lists & _RECORD_LISTS else ()
    if unread and of_videos:
        raise unread_captions(path, unread)
    for name, value, is_element in JsonScanner(path).members(LISTS):
        if is_element and name.casefold() not in of_videos:
            yield videos.with_file(value) if isinstance(value, Mapping) else value


class _Videos:
    """The files of the listed videos, by the names of their lists and their numbers.

    `are_elsewhere` says that other parts of the JSON file name video files too.
    """

    def __init__(self) -> None:
        self.are_elsewhere = False
        self._files: dict[str, dict[str, set[str]]] = {}

    def add(self, name: str, video: Any) -> None:
        """Add a video of the list `name`."""
        file = _file_of(video) if isinstance(video, Mapping) else ""
        for number in {_plain(video[key]) for key in (_NUMBERS[name], "id") if key in video} if file else ():
            self._files.setdefault(name, {}).setdefault(number, set()).add(file)

    def with_file(self, record: Mapping[str, Any]) -> Mapping[str, Any] | BadRecord:
        """The record with the file of its video. Where videos have files, a number is never the name of another file.

        A number belongs to the list that its key names; where there is only one list, to this one.
        """
        has_own = any(isinstance(value, str) and str(key).casefold() in _FILE_KEYS for key, value in record.items())
        if has_own or not (self._files or self.are_elsewhere):
            return record
        keys = ((name, key) for name, key in (*_NUMBERS.items(), ("videos", "video")) if record.get(key) is not None)
        name, key = next(keys, ("", ""))
        number = _plain(record.get(key, ""))
        files = next(iter(self._files.values())) if len(self._files) == 1 else self._files.get(name, {})
        found = files.get(number, set())
        if len(found) == 1:
            return {**record, "video": next(iter(found))}
        if found or not number or number.isdigit():
            return BadRecord(NO_FILE + (" (several have it)" if found else ""))
        return record


def has_captions(name: str, value: Any) -> bool:
    """Whether a member that is not read, or a part of it, has captions, unlike licences and lists of videos."""
    if _has_captions({name: value}):
        return True
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return _has_captions(value) or any(_has_captions(one) or _is_described_file(one) for one in _objects(inner))


def unread_captions(path: Path, name: str) -> DataError:
    """The error for captions in the member `name`, which is not read."""
    return DataError(
        f"{path} has captions in {name[:40]!r} beside other lists of records: write all records that you mean "
        'into one list, [{"video": ..., "caption": ...}, ...].'
    )


def _objects(values: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """The objects among values, and those within them."""
    level = list(values)
    while level:
        yield from (value for value in level if isinstance(value, Mapping))
        level = [
            one
            for value in level
            for one in (value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ())
        ]


def _has_captions(value: Any) -> bool:
    """Whether a value is a record with a caption or a map of captions."""
    return isinstance(value, Mapping) and any(
        (name.strip().casefold() in _CAPTIONS or _is_file(name)) and text and isinstance(text, (str, list))
        for name, text in value.items()
    )


def _is_described_file(value: Mapping[str, Any]) -> bool:
    names = folded(value)
    return not (_TEXTS.isdisjoint(names) or names.isdisjoint(_FILE_KEYS))


def _names_files(value: Mapping[str, Any]) -> bool:
    return any(_is_file(name) or (isinstance(text, str) and _is_file(text)) for name, text in value.items())


def _is_file(text: str) -> bool:
    return text.casefold().endswith(_ENDINGS)


def _file_of(video: Mapping[str, Any]) -> str:
    """The file of a listed video: the text of a usual key, or one with a suffix, or its name; "" without one."""
    texts = {str(key).casefold(): value for key, value in video.items() if isinstance(value, str) and value.strip()}
    usual = [texts[key] for key in _FILE_KEYS if key in texts]
    return next(iter((*usual, *filter(_is_file, texts.values()), texts.get("name", ""))))


def _plain(number: Any) -> str:
    """The number of a video as a text, also one that pandas made a floating-point number."""
    return str(int(number) if isinstance(number, float) and number.is_integer() else number)
