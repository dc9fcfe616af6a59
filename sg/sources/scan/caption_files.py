"""Caption files of users: CSV, TSV, JSON Lines, JSON (also with gzip), Parquet, and conversations of video models.

The files are untrusted: a row without a usable caption is counted as a problem with its place, and no content is
executed. Ids stay text, also a spreadsheet's `1053841541.0`, and keep their case.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.files.normal_names import is_end, normal_parts
from sg.sources.scan.items import BLANK, CONTRADICTION, caption_problem
from sg.sources.scan.parts import VideoPart, part_of
from sg.sources.scan.records import KEY_OF_MAP, JsonScanner, check_suffix, holds_lines, numbered_records, place
from sg.sources.scan.texts import TABLES, BadRecord, first_character, kind_of

VIDEO_KEYS = (
    *("video", "video_path", "path", "file", "file_name", "filename", "video_file", "clip", "clip_path", "media"),
    *("video_id", "videoid", "videoID", "youtube_id", "clip_id", "uid", "id"),
    KEY_OF_MAP,
)
CAPTION_KEYS = ("caption", "text", "description", "sentence", "title", "name", "original_caption")
TURN_KEYS = ("conversations", "messages", "conversation")
_NO_VIDEO, _NO_CAPTION = "no column for the video", "no column for the caption"
_COUNTED = ("not an object", "not UTF-8 text", "a NUL character", "a key that is there twice")
"""Bad records of JSON files that are counted as rows; any other leaves open where the next record begins."""
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class CaptionEntry:
    """One caption: the name of the video as the file has it, the unchanged text, and the part that it is about."""

    video: str
    caption: str
    part: VideoPart | None = None


@dataclass(slots=True)
class CaptionFile:
    """The usable entries of a caption file, and the unusable rows by reason: their number, and places of the first."""

    entries: list[CaptionEntry] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def rows(self) -> int:
        """Rows read."""
        return len(self.entries) + self.problems.total()

    def add_problem(self, reason: str, where: str) -> None:
        """Count an unusable row."""
        self.problems[reason] += 1
        if len(self.examples[reason]) < _EXAMPLES:
            self.examples[reason].append(where)

    def summary(self) -> str:
        """Rows read = captions + problems, with the place of the first problem of each kind."""
        kinds = ", ".join(
            f"{count:,} {kind}, e.g. {self.examples[kind][0]}" for kind, count in self.problems.most_common()
        )
        problems = f"{self.problems.total():,} problems ({kinds})" if kinds else "0 problems"
        return f"{self.rows:,} rows read = {len(self.entries):,} captions + {problems}"


def read_caption_file(path: Path, video_key: str | None = None, caption_key: str | None = None) -> CaptionFile:
    """Read a caption file by its suffix: .csv .tsv .json .jsonl .ndjson, each also with .gz, and .parquet.

    `video_key` and `caption_key` name the columns; None finds one of the usual names.

    Raises:
        MissingInputError: there is no such file.
        ConfigError: the suffix is unknown, or no column for the videos or the captions is found.
        DataError: the content does not have the form that the suffix names, or no row has a caption.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no caption file {path}: give an existing one with data.captions=FILE.")
    check_suffix(path, "data.captions")
    result, columns = CaptionFile(), None
    for number, row in _rows(path):
        if isinstance(row, BadRecord) and not (kind_of(path) in TABLES or row.kind.startswith(_COUNTED)):
            raise DataError(f"{path.parent / place(path, number)} is {row.reason}.")
        columns = columns or (list(map(str, row)) if isinstance(row, Mapping) else None)
        entry = row.kind if isinstance(row, BadRecord) else _entry(row, number, video_key, caption_key)
        if isinstance(entry, CaptionEntry):
            result.entries.append(entry)
        else:
            result.add_problem(entry, place(path, number))
    for kind, problem in (("video", _NO_VIDEO), ("caption", _NO_CAPTION)):
        if not result.entries and result.problems[problem]:
            names = ", ".join((columns or [])[:12])
            raise ConfigError(
                f"{path} has no column for the {kind} (it has {names}): name it with data.{kind}_column=NAME."
            )
    if not result.entries:
        raise DataError(f"{path} has no usable caption: {result.summary()}.")
    return result


def _entry(row: Mapping[str, Any], number: int, video_key: str | None, caption_key: str | None) -> CaptionEntry | str:
    """The caption of a row, or the reason why it has none."""
    key, text_key = _columns(tuple(row), video_key, caption_key)
    if key is None:
        return _NO_VIDEO
    video = _name(row[key])
    if not video:
        return "video is not text"
    outer = row.get(KEY_OF_MAP)
    if outer is not None and not video_key and outer not in (str(number), str(number - 1)):  # not a row number
        if not is_end(normal_parts(outer), normal_parts(video)):
            return CONTRADICTION
        video = max(outer, video, key=len)
    turns = None if caption_key else turns_of(row)
    if turns is None and text_key is None:
        return _NO_CAPTION
    caption = row[text_key] if turns is None else first_answer(turns)
    part = part_of(row)
    if isinstance(part, str):
        return part
    return caption_problem(caption) or CaptionEntry(video, caption, part)


def _name(value: Any) -> str:
    """The name of a video; "" where the value is not one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip(BLANK) if isinstance(value, str) else ""


@lru_cache(maxsize=256)
def _columns(columns: tuple[str, ...], video_key: str | None, caption_key: str | None) -> tuple[Any, Any]:
    """The columns of the video and of the caption; None for each that is not there.

    Case is ignored, except where two columns differ in case only: then the one that is spelled as wanted is meant.
    """
    names = {str(name).strip(BLANK).casefold(): name for name in reversed(columns)}
    exact = {str(name).strip(BLANK): name for name in reversed(columns)}

    def first(wanted: Iterable[str]) -> Any:
        return next((exact.get(name, names[name.casefold()]) for name in wanted if name.casefold() in names), None)

    key = first([video_key] if video_key else VIDEO_KEYS)
    return key, first([caption_key] if caption_key else [name for name in CAPTION_KEYS if name != key])


def turns_of(row: Mapping[str, Any]) -> list[Any] | None:
    """The conversation of a record; None where it has none."""
    return next((row[key] for key in TURN_KEYS if isinstance(row.get(key), list)), None)


def turn_of(turn: Any) -> tuple[str, Any]:
    """Speaker and message of a turn: `from` and `value` as in LLaVA, or `role` and `content` as in chat services.

    The texts of a `content` in parts are joined.
    """
    if not isinstance(turn, Mapping):
        return "", None
    value = turn.get("value", turn.get("content"))
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        texts = [part["text"] for part in value if isinstance(part.get("text"), str)]
        value = "\n".join(texts) if texts else None
    return str(turn.get("from", turn.get("role", ""))).casefold(), value


def first_answer(turns: Iterable[Any]) -> Any:
    """The first message of the model in a conversation."""
    return next((text for who, text in map(turn_of, turns) if who in ("gpt", "assistant", "model")), None)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | BadRecord]]:
    """Yield every row with its number; the members of an object {video: caption} are rows."""
    if kind_of(path) == ".json" and first_character(path) == "{" and not holds_lines(path):
        members = list(JsonScanner(path).members())
        names = {name.casefold() for name, _ in members}
        is_record = names.intersection(VIDEO_KEYS) and names.intersection((*CAPTION_KEYS, *TURN_KEYS))
        if not is_record and not any(isinstance(value, Mapping) for _, value in members):
            for number, (name, value) in enumerate(members, 1):
                yield number, value if isinstance(value, BadRecord) else {"id": name, "caption": value}
            return
    yield from numbered_records(path)
