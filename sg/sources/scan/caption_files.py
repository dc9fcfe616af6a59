"""Caption files of users: CSV, TSV, JSON Lines, JSON (also with gzip), and conversations of Chat-UniVi and LLaVA.

The files are untrusted: an entry that is not a caption is counted as a problem and never ends the run, and no content
is executed. Ids stay text, also a spreadsheet's `1053841541.0`, and keep their case.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.scan.records import (
    PACKED,
    TABLES,
    TEXTS,
    BadRecord,
    csv_rows,
    first_character,
    json_array,
    json_lines,
    kind_of,
    open_text,
)

VIDEO_KEYS = (
    *("video", "video_path", "path", "file", "file_name", "filename", "video_file", "clip", "clip_path", "media"),
    *("video_id", "videoid", "videoID", "youtube_id", "clip_id", "uid", "id"),
)
CAPTION_KEYS = ("caption", "text", "description", "sentence", "title", "name", "original_caption")
MAX_CAPTION = 20_000
"""Characters kept of one caption."""
_NO_VIDEO, _NO_CAPTION = "no column for the video", "no column for the caption"


@dataclass(frozen=True, slots=True)
class CaptionEntry:
    """One caption: the name of the video as the file has it, and the unchanged text."""

    video: str
    caption: str


@dataclass(slots=True)
class CaptionFile:
    """The usable entries of a caption file, and the number of unusable ones by reason."""

    entries: list[CaptionEntry] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)


def read_caption_file(path: Path, video_key: str | None = None, caption_key: str | None = None) -> CaptionFile:
    """Read a caption file by its suffix: .csv .tsv .json .jsonl .ndjson, each also with .gz.

    `video_key` and `caption_key` name the columns; None finds one of the usual names.

    Raises:
        MissingInputError: there is no such file.
        ConfigError: the suffix is unknown, or no column for the videos or the captions is found.
        DataError: the content does not have the form that the suffix names.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no caption file {path}: give an existing one with data.captions=FILE.")
    if kind_of(path) not in TEXTS:
        raise ConfigError(
            f"data.captions={path}: expected a file that ends in {', '.join(TEXTS)}, with or without {PACKED}."
        )
    result, columns = CaptionFile(), None
    for row in _rows(path):
        columns = columns or (list(map(str, row)) if isinstance(row, Mapping) else None)
        entry = _entry(row, video_key, caption_key)
        if isinstance(entry, CaptionEntry):
            result.entries.append(entry)
        else:
            result.problems[entry] += 1
    for kind, problem in (("video", _NO_VIDEO), ("caption", _NO_CAPTION)):
        if not result.entries and result.problems[problem]:
            names = ", ".join((columns or [])[:12])
            raise ConfigError(
                f"{path} has no column for the {kind} (it has {names}): name it with data.{kind}_column=NAME."
            )
    return result


def _entry(row: Any, video_key: str | None, caption_key: str | None) -> CaptionEntry | str:
    """The caption of a row, or the reason why it has none."""
    if not isinstance(row, Mapping):
        return "not an object"
    names = {str(name).strip().casefold(): name for name in reversed(list(row))}
    key = _find(names, [video_key] if video_key else VIDEO_KEYS)
    if key is None:
        return _NO_VIDEO
    video = row[key]
    if isinstance(video, int) and not isinstance(video, bool):
        video = str(video)
    if not isinstance(video, str) or not video.strip():
        return "video is not text"
    if isinstance(row.get("conversations"), list) and caption_key is None:
        caption = first_answer(row["conversations"])
    else:
        text_key = _find(names, [caption_key] if caption_key else [name for name in CAPTION_KEYS if name != key])
        if text_key is None:
            return _NO_CAPTION
        caption = row[text_key]
    if not isinstance(caption, str):
        return "caption is not text"
    return CaptionEntry(video.strip(), caption[:MAX_CAPTION]) if caption.strip() else "empty caption"


def _find(names: Mapping[str, Any], wanted: Iterable[str]) -> Any:
    """The key of a row that equals one of the wanted names, ignoring case; None where there is none."""
    return next((names[name.casefold()] for name in wanted if name.casefold() in names), None)


def first_answer(turns: list[Any]) -> Any:
    """The first message of the model in a conversation."""
    for turn in turns:
        if isinstance(turn, Mapping) and turn.get("from") in ("gpt", "assistant", "model"):
            return turn.get("value")
    return None


def _rows(path: Path) -> Iterator[Any]:
    """Yield every row of a caption file, read by its suffix; DataError at the first part that is not a row."""
    kind = kind_of(path)
    yield from (
        _json_rows(path) if kind == ".json" else _good(path, csv_rows(path) if kind in TABLES else json_lines(path))
    )


def _good(path: Path, rows: Iterable[Any]) -> Iterator[Any]:
    for row in rows:
        if isinstance(row, BadRecord):
            raise DataError(f"{path.parent / row.where} is {row.reason}.")
        yield row


def _json_rows(path: Path) -> Iterator[Any]:
    """Yield the entries of a JSON array, of JSON Lines with the suffix .json, or of an object {video: caption}."""
    if first_character(path) == "[":
        yield from json_array(path)
        return
    with open_text(path) as stream:
        text = stream.read().strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not (text.startswith("{") and "\n" in text and isinstance(error, json.JSONDecodeError)):
            detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise DataError(f"{path} is not JSON: {detail}.") from error
        yield from _good(path, json_lines(path))
        return
    if not isinstance(value, dict):
        raise DataError(
            f"{path} holds a {type(value).__name__}: expected a list of objects with a video and a caption."
        )
    yield from ({"video": video, "caption": caption} for video, caption in value.items())
