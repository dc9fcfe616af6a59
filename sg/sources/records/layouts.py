"""JSON files whose value is an object: the record or records that it holds, in the layouts that are published.

* one record: `{"video": ..., "caption": ...}`
* records by id (Kinetics): `{"<id>": {...}}`
* captions by video: `{"a.mp4": "...", "b.mp4": ["...", "..."]}`
* lists of records (MSR-VTT, COCO): `{"info": ..., "videos": [...], "sentences": [...]}`, `{"annotations": [...]}`
* columns (pandas): `{"video": {"0": ...}, "caption": {"0": ...}}`, `{"video": [...], "caption": [...]}`, or
  `{"columns": [...], "data": [[...]]}`
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.sources.records.columns import CAPTION_KEYS, KEY_OF_MAP, VIDEO_KEYS, folded
from sg.sources.records.json_values import TWICE, JsonScanner
from sg.sources.records.record_lists import (
    LISTS,
    has_captions,
    listed_records,
    num_texts,
    texts_beside,
    unread_captions,
)
from sg.sources.records.texts import BadRecord

_HEAD = 1000
"""Members by which the layout is recognised; an object with more is a map."""
_RECORD_NAMES = folded((*VIDEO_KEYS, "YoutubeID", "url"))
_VIDEO_COLUMNS = folded((*VIDEO_KEYS, *(f"{key}s" for key in VIDEO_KEYS)))
_Member = tuple[str, Any, bool]


def object_records(path: Path) -> Iterator[Any | BadRecord]:
    """Yield the records of a JSON file that begins with `{`.

    A record of a map has the column `KEY_OF_MAP`, and a text of a map is its column `caption`.

    Raises:
        DataError: it is not JSON, or has members of different kinds.
    """
    members = JsonScanner(path).members(LISTS)
    head = list(islice(members, _HEAD))
    good = [(name, value, is_element) for name, value, is_element in head if not isinstance(value, BadRecord)]
    names = folded(name for name, _, _ in good)
    if any(is_element and isinstance(value, Mapping) for _, value, is_element in good):
        yield from listed_records(path)
    elif _are_columns(good):
        yield from _side_by_side(path, chain(head, members))
    elif names >= {"columns", "data"}:
        yield from _split(path, chain(head, members))
    elif names & folded(VIDEO_KEYS) and names & folded(CAPTION_KEYS) and _are(Mapping, good):
        yield from _transposed([(name, value) for name, value, _ in chain(head, members) if isinstance(value, Mapping)])
    elif len(head) < _HEAD and names & _RECORD_NAMES and not _are(Mapping, good):
        yield _one(head)
    else:
        if _are(Mapping, good, any) and _are(str, good, any):
            other = next(name for name, value, _ in good if isinstance(value, str))
            raise DataError(
                f"{path} is an object with records and texts side by side, such as {other[:40]!r}: write a "
                'list of records with a video and a caption each, [{"video": ..., "caption": ...}, ...].'
            )
        for name, value, is_element in chain(head, members):
            yield from [value] if is_element else _of_map(name, value)


def _are(kind: type, members: Sequence[_Member], how: Any = all) -> bool:
    return bool(members) and bool(how(isinstance(value, kind) for _, value, _ in members))


def _one(members: Sequence[_Member]) -> Any | BadRecord:
    """The record that the members are; the elements of an opened list belong together."""
    record: dict[str, Any] = {}
    is_twice = False
    for name, value, is_element in members:
        if isinstance(value, BadRecord):
            return value
        if is_element:
            record.setdefault(name, []).append(value)
        else:
            is_twice = is_twice or record.setdefault(name, value) != value
    return TWICE if is_twice else record


def _of_map(name: str, value: Any) -> Iterator[Any | BadRecord]:
    if isinstance(value, BadRecord):
        yield value
    elif isinstance(value, Mapping):
        yield {**value, KEY_OF_MAP: name}
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        yield from ({**one, KEY_OF_MAP: name} for one in value)
    else:
        yield {KEY_OF_MAP: name, "caption": value}


def _split(path: Path, members: Iterator[_Member]) -> Iterator[Any]:
    """The rows of a table that pandas wrote with orient="split"; DataError where another member has captions."""
    columns: list[str] = []
    rows = []
    texts: Counter[str] = Counter()
    for name, value, _ in members:
        if name == "columns":
            columns = value if isinstance(value, list) else []
        elif name == "data":
            rows.append(value)
        elif has_captions(name, value):
            raise unread_captions(path, name)
        elif name != "index":
            texts[name] += num_texts(name, value)
    for row in rows:
        is_row = isinstance(row, list) and len(row) == len(columns)
        yield dict(zip(map(str, columns), row, strict=True)) if is_row else row
    yield from texts_beside(texts)


def _are_columns(members: Sequence[_Member]) -> bool:
    """Whether members are lists of videos and captions; of a long list only the beginning is known."""
    lists = [(name, value) for name, value, is_element in members if is_element or isinstance(value, list)]
    names = folded(name for name, _ in lists)
    is_long = len(members) > _HEAD / 2 and len(names) == 1 and isinstance(lists[-1][1], str)
    return bool(names & _VIDEO_COLUMNS and names & folded(CAPTION_KEYS)) or is_long


def _side_by_side(path: Path, members: Iterator[_Member]) -> Iterator[dict[str, Any] | BadRecord]:
    """The rows of a table whose columns are lists; DataError where those of videos and captions do not fit."""
    columns: dict[str, list[Any]] = defaultdict(list)
    texts: Counter[str] = Counter()
    for name, value, is_element in members:
        if is_element or isinstance(value, list):
            columns[name] += [value] if is_element else value
        else:
            texts[name] += num_texts(name, value)
    videos, captions = (
        next((name for name in columns if name.strip().casefold() in keys), "")
        for keys in (_VIDEO_COLUMNS, folded(CAPTION_KEYS))
    )
    if not (videos and captions) or len(columns[videos]) != len(columns[captions]):
        lengths = ", ".join(f"{len(column)} in {name[:40]!r}" for name, column in islice(columns.items(), 5))
        raise DataError(
            f"{path} has lists of different lengths ({lengths}): write a list of records with a video and a caption "
            'each, [{"video": ..., "caption": ...}, ...].'
        )
    others = {name: column for name, column in columns.items() if len(column) != len(columns[videos])}
    texts.update({name: num_texts(name, column) for name, column in others.items()})
    names = {
        name: "video" if name == videos and folded([name]).isdisjoint(folded(VIDEO_KEYS)) else name for name in columns
    }
    for place in range(len(columns[videos])):
        row = {names[name]: column[place] for name, column in columns.items() if name not in others}
        yield next((value for value in row.values() if isinstance(value, BadRecord)), row)
    yield from texts_beside(texts)


def _transposed(members: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[dict[str, Any] | BadRecord]:
    """The rows of a table that pandas wrote column by column."""
    columns = dict(members)
    if any(columns[name] != column for name, column in members):
        yield TWICE
        return
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    for key in keys:
        yield {name: column.get(key) for name, column in columns.items()}
