"""The published ShareGemini caption files as they are: `sharegemini_webvid_core100k.json`, `sharegemini_k400.json`.

They are LLaVA conversations (`id`, `video`, `conversations`; the WebVid file also has `set`), as a JSON array or, in
copies, as JSON Lines. Neither `id` nor `video` is WebVid's number, so `webvid_videoname2id.json` links them; which
side of that map is the number is found by looking. Files are streamed: the largest has 220,000 records.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from sg.core.errors import DataError, MissingInputError

_CHUNK = 2**20
_MAX_RECORD = 2**26
_TOKEN = re.compile(r"\s*<(?:video|image)>\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PublishedCaption:
    """One record: how it names its clip, the question, and the caption; `extra` keeps keys that are not known."""

    record_id: str
    video: str
    question: str
    caption: str
    folder_key: str = ""
    """`set` of the WebVid file."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The clip's file name without folders and suffix."""
        name = PurePosixPath(self.video.replace("\\", "/")).name
        return re.sub(r"\.(mp4|mkv|webm|avi|mov)$", "", name, flags=re.IGNORECASE)


class PublishedFile:
    """A published file; iterate it for its usable records, then look at `problems`."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MissingInputError(f"There is no published caption file {path}: give one that exists.")
        self.path = path
        self.problems: Counter[str] = Counter()

    def __iter__(self) -> Iterator[PublishedCaption]:
        self.problems.clear()
        seen: set[str] = set()
        for entry in entries(self.path):
            record = _record(entry)
            if isinstance(record, str):
                self.problems[record] += 1
            elif record.video in seen:
                self.problems["a second record of a clip"] += 1
            else:
                seen.add(record.video)
                yield record


def is_published(path: Path) -> bool:
    """Whether a file looks like one of them: its first record has conversations about a film."""
    try:
        first = next(entries(path), None)
    except (DataError, OSError):
        return False
    return isinstance(_record(first), PublishedCaption)


def read_name_map(path: Path) -> dict[str, str]:
    """The map from clip names to WebVid's numbers, whichever way round the file has it.

    Raises:
        DataError: neither side of the map consists of numbers.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no name map {path}: it comes with the published captions.")
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {str(error)[:100]}.") from error
    if isinstance(raw, list):  # a list of pairs, or of objects with two values
        raw = dict(tuple(pair.values()) if isinstance(pair, dict) else tuple(pair) for pair in raw)
    if not isinstance(raw, dict):
        raise DataError(f"{path} holds a {type(raw).__name__}, expected an object that maps names to numbers.")
    pairs = [(str(key), str(value)) for key, value in raw.items() if isinstance(value, (str, int))]
    if pairs and all(_is_number(value) for _, value in pairs[:1000]):
        return {_name(key): value for key, value in pairs}
    if pairs and all(_is_number(key) for key, _ in pairs[:1000]):
        return {_name(value): key for key, value in pairs}
    raise DataError(f"{path} maps neither names to numbers nor numbers to names.")


def entries(path: Path) -> Iterator[Any]:
    """The values of a JSON array or of JSON Lines, one after the other.

    Raises:
        DataError: the file is neither; the message says where.
    """
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        head = stream.read(64).lstrip()
        stream.seek(0)
        if head.startswith("["):
            yield from _array(stream, path)
        else:
            yield from _lines(stream, path)


def _array(stream: TextIO, path: Path) -> Iterator[Any]:
    decoder, text, position, end = json.JSONDecoder(), "", 0, False
    text = stream.read(_CHUNK).lstrip("\ufeff \n\r\t")[1:]
    while True:
        while position < len(text) and text[position] in " \n\r\t,":
            position += 1
        if position < len(text) and text[position] == "]":
            return
        try:
            value, after = decoder.raw_decode(text, position)
            complete = after < len(text) or end
        except (ValueError, RecursionError) as error:
            if end or len(text) - position > _MAX_RECORD or isinstance(error, RecursionError):
                raise DataError(f"{path} is no JSON array of records: {str(error)[:100]}.") from error
            complete = False
        if complete:
            yield value
            position = after
            continue
        more = stream.read(_CHUNK)
        end = not more
        text, position = text[position:] + more, 0


def _lines(stream: TextIO, path: Path) -> Iterator[Any]:
    number = 0
    while line := stream.readline(_MAX_RECORD):
        number += 1
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is no JSON: {str(error)[:100]}.") from error


def _record(entry: Any) -> PublishedCaption | str:
    """The record of an entry, or in a few words why it is none."""
    if not isinstance(entry, Mapping):
        return "no object"
    video, turns = entry.get("video", entry.get("id")), entry.get("conversations")
    if not isinstance(turns, list):
        return "no conversations"
    if not isinstance(video, (str, int)) or isinstance(video, bool) or not str(video).strip():
        return "no video"
    said = [(turn.get("from"), turn.get("value")) for turn in turns if isinstance(turn, Mapping)]
    question = next((value for speaker, value in said if speaker in ("human", "user")), "")
    caption = next((value for speaker, value in said if speaker in ("gpt", "assistant", "model")), None)
    if not isinstance(caption, str):
        return "caption is no text"
    if not caption.strip():
        return "empty caption"
    known = ("id", "video", "conversations", "set")
    return PublishedCaption(
        record_id=str(entry.get("id", "")),
        video=str(video).strip(),
        question=_TOKEN.sub(" ", question).strip() if isinstance(question, str) else "",
        caption=caption,
        folder_key=str(entry.get("set", "")),
        extra={key: value for key, value in entry.items() if key not in known},
    )


def _name(text: str) -> str:
    return PublishedCaption("", text, "", "").stem


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d{1,20}", text) is not None
