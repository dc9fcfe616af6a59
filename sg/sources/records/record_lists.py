"""Objects with lists of records, such as MSR-VTT and COCO: `{"info": ..., "videos": [...], "annotations": [...]}`.

The lists with usual names are read. No other part of the file may hold captions; other texts are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.sources.records.columns import TURN_KEYS, folded
from sg.sources.records.json_values import JsonScanner
from sg.sources.records.listed_videos import FILE_KEYS, VIDEO_LISTS, ListedVideos, is_file, names_files
from sg.sources.records.texts import BadRecord

_RECORD_LISTS = frozenset(
    ("annotations", "sentences", "captions", "data", "records", "samples", "items", "rows", "entries", "examples")
)
LISTS = VIDEO_LISTS.keys() | _RECORD_LISTS
_CAPTIONS = folded(("caption", "captions", "sentence", "sentences", *TURN_KEYS))
"""Keys of captions only: `name`, `title` and `description` are also those of licences and videos."""
_TEXTS = folded(("text", "texts", "description", "descriptions"))
"""Keys of captions in an object that also names a file."""
BESIDE = "a text beside the records, which is not read"
_CARDS = folded(("info", "license", "licenses", "licence", "licences", "categories"))
_CARD_TEXTS = folded(
    (
        *("description", "title", "name", "text", "license", "licence", "url", "homepage", "contributor", "author"),
        *("authors", "source", "citation", "version", "date", "date_created", "supercategory", "note", "notes"),
    )
)
"""Keys of texts about a data set, in the members above and beside the lists."""


def listed_records(path: Path) -> Iterator[Any | BadRecord]:
    """The records of the lists. A record that names its video by an id gets the file name of this video.

    Raises:
        DataError: a member that is not read has captions.
    """
    lists: set[str] = set()
    unread, videos, texts, of_lists = "", ListedVideos(), Counter[str](), Counter[str]()
    for name, value, is_element in JsonScanner(path).members(LISTS):
        key = name.casefold()
        if is_element and key in _RECORD_LISTS:
            lists.add(key)
        elif is_element:
            lists.add(key)
            unread = unread or (name if _has_captions(value) else "")
            videos.add(key, value)
            of_lists[name] += num_texts(name, value)
        else:
            videos.are_elsewhere = videos.are_elsewhere or names_files(_objects([value]))
            texts[name] += num_texts(name, value)
            if has_captions(name, value):
                unread, lists = name, lists | _RECORD_LISTS
    of_videos = VIDEO_LISTS.keys() if lists & _RECORD_LISTS else ()
    if unread and of_videos:
        raise unread_captions(path, unread)
    for name, value, is_element in JsonScanner(path).members(LISTS):
        if is_element and name.casefold() not in of_videos:
            yield videos.with_file(value) if isinstance(value, Mapping) else value
    yield from texts_beside(texts + of_lists if of_videos else texts)


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


def num_texts(name: str, value: Any) -> int:
    """Number of the texts of several words in a member that is not read, except those about the data set."""
    is_card = name.casefold() in _CARDS
    level: list[tuple[str, Any, bool]] = [(name, value, True)]
    found = 0
    while level:
        inner: list[tuple[str, Any, bool]] = []
        for key, one, may_be_card in level:
            if isinstance(one, Mapping):
                inner += [(str(other), text, is_card) for other, text in one.items()]
            elif isinstance(one, list):
                inner += [(key, text, may_be_card) for text in one]
            elif isinstance(one, str):
                found += has_words(one) and not (may_be_card and key.casefold() in _CARD_TEXTS)
        level = inner
    return found


def has_words(text: str) -> bool:
    """Whether a text has several words, or letters of a script without spaces, and is not the name of a file."""
    words = sum(any(map(str.isalpha, word)) for word in text[:1000].split())
    return (words > 1 or not (text.isascii() or words == 0)) and not is_file(text)


def texts_beside(counts: Mapping[str, int]) -> Iterator[BadRecord]:
    """A problem for each text that is not read, by the names of the members."""
    for name, count in counts.items():
        yield from repeat(BadRecord(BESIDE, where=repr(name[:40])), count)


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
        (name.strip().casefold() in _CAPTIONS or is_file(name)) and text and isinstance(text, (str, list))
        for name, text in value.items()
    )


def _is_described_file(value: Mapping[str, Any]) -> bool:
    names = folded(value)
    return not (_TEXTS.isdisjoint(names) or names.isdisjoint(FILE_KEYS))
