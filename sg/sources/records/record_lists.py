"""Objects with lists of records, such as MSR-VTT and COCO: `{"info": ..., "videos": [...], "annotations": [...]}`.

The lists with usual names are read. No other part of the file may hold captions. A number is that of a listed video.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.sources.files.disk import VIDEO_SUFFIXES
from sg.sources.records.columns import TURN_KEYS, VIDEO_KEYS, folded
from sg.sources.records.json_values import JsonScanner
from sg.sources.records.texts import BadRecord

_VIDEO_LISTS = frozenset(("videos", "images", "clips", "media"))
_RECORD_LISTS = frozenset(
    ("annotations", "sentences", "captions", "data", "records", "samples", "items", "rows", "entries", "examples")
)
LISTS = _VIDEO_LISTS | _RECORD_LISTS
_CAPTIONS = folded(("caption", "captions", "sentence", "sentences", *TURN_KEYS))
"""Keys of captions only: `name`, `title` and `description` are also those of licences and videos."""
_TEXTS = folded(("text", "texts", "description", "descriptions"))
"""Keys of captions in an object that also names a file."""
_FILE_KEYS = tuple(key for key in VIDEO_KEYS if not key.casefold().endswith("id"))
_NUMBERS = ("video_id", "image_id", "clip_id")
_ENDINGS = tuple(VIDEO_SUFFIXES)
NO_FILE = "a number of a video whose file is not named"


def listed_records(path: Path) -> Iterator[Any | BadRecord]:
    """The records of the lists. A record that names its video by a number gets the file name of this video.

    Raises:
        DataError: a member that is not read has captions.
    """
    files: dict[str, set[str]] = defaultdict(set)
    lists: set[str] = set()
    unread = ""
    for name, value, is_element in JsonScanner(path).members(LISTS):
        if is_element:
            lists.add(name.casefold())
            if name.casefold() in _RECORD_LISTS:
                continue
            unread = unread or (name if _has_captions(value) else "")
        elif has_captions(name, value):
            unread, lists = name, lists | _RECORD_LISTS
        for video in _objects([value]):
            if file := _file_of(video, is_element):
                files[_number(video, (*_NUMBERS, "id"))].add(file)
    files.pop("", None)
    of_videos = _VIDEO_LISTS if lists & _RECORD_LISTS else frozenset()
    if unread and of_videos:
        raise unread_captions(path, unread)
    for name, value, is_element in JsonScanner(path).members(LISTS):
        if is_element and name.casefold() not in of_videos:
            yield _with_file(value, files) if files and isinstance(value, Mapping) else value


def has_captions(name: str, value: Any) -> bool:
    """Whether a member that is not read, or a part of it, has captions, unlike licences and lists of videos."""
    if name.casefold().endswith(_ENDINGS) or _has_captions(value):
        return True
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(_has_captions(one) or _is_described_file(one) for one in _objects(inner))


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
    return isinstance(value, Mapping) and (
        not _CAPTIONS.isdisjoint(folded(value)) or any(name.casefold().endswith(_ENDINGS) for name in value)
    )


def _is_described_file(value: Mapping[str, Any]) -> bool:
    names = folded(value)
    return not (_TEXTS.isdisjoint(names) or names.isdisjoint(_FILE_KEYS))


def _file_of(video: Mapping[str, Any], is_listed: bool) -> str:
    """The name of the file of a video; "" without one. Elsewhere than in a list of videos, a text with a suffix."""
    texts = {str(key).casefold(): value for key, value in video.items() if isinstance(value, str) and value.strip()}
    files = [text for text in texts.values() if text.casefold().endswith(_ENDINGS)]
    usual = [texts[key] for key in _FILE_KEYS if key in texts]
    found = (*usual, *files, texts.get("name", "")) if is_listed else (*files, "")
    return found[0]


def _number(value: Mapping[str, Any], keys: Iterable[str]) -> str:
    """The id of a video in the first of the keys, also one that pandas made a floating-point number; "" without one."""
    number = next((value[key] for key in keys if value.get(key) is not None), "")
    return str(int(number) if isinstance(number, float) and number.is_integer() else number)


def _with_file(record: Mapping[str, Any], files: Mapping[str, set[str]]) -> Mapping[str, Any] | BadRecord:
    """The record with the file of its video. A number is never the name of a file where listed videos have files."""
    if any(isinstance(value, str) and str(key).casefold() in _FILE_KEYS for key, value in record.items()):
        return record
    number = _number(record, (*_NUMBERS, "video"))
    found = files.get(number, set())
    if len(found) == 1:
        return {**record, "video": next(iter(found))}
    if found or number.isdigit():
        return BadRecord(NO_FILE + (" (several have it)" if found else ""))
    return record
