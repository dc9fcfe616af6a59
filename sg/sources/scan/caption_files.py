"""Caption files of users: CSV, TSV, JSON Lines, JSON, Parquet, and conversations of video models.

The files are untrusted: a row without a usable caption is counted as a problem with its place, and no content is
executed. Ids stay text, also a spreadsheet's `1053841541.0`, and keep their case.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.sources.files.normal_names import is_end, normal_parts
from sg.sources.records.columns import CAPTION_KEYS, KEY_OF_MAP, TURN_KEYS, VIDEO_KEYS
from sg.sources.records.listed_videos import NO_FILE
from sg.sources.records.reading import RecordFile, check_suffix
from sg.sources.records.record_lists import BESIDE, num_texts
from sg.sources.records.texts import PARQUETS, TABLES, BadRecord, kind_of
from sg.sources.records.turns import first_answer, turns_of, videos_in
from sg.sources.scan.items import BLANK, CONTRADICTION, caption_problem, shown
from sg.sources.scan.parts import VideoPart, part_of

_NO_VIDEO, _NO_CAPTION = "no column for the video", "no column for the caption"
_COUNTED = ("not an object", "not UTF-8 text", "a NUL character", "a key that is there twice", NO_FILE, BESIDE)
"""Bad records of JSON files that are counted as rows; any other leaves open where the next record begins."""
_EXAMPLES = 3
_MAX_EXACT = 2**53
"""Above it a floating-point number has lost digits of an id."""


class CaptionEntry(NamedTuple):
    """One caption: the name of the video as the file has it, the unchanged text, and the part that it is about."""

    video: str
    caption: str
    part: VideoPart | None = None


class CaptionFile:
    """A caption file, read one caption at a time, and counts of what was read so far.

    Read by its suffix: .csv .tsv .json .jsonl .ndjson, each also compressed, and .parquet.

    Args:
        path: the file.
        video_key: the column of the videos; None finds one of the usual names.
        caption_key: the column of the captions; None finds one of the usual names.

    Raises:
        MissingInputError: there is no such file.
        ConfigError: the suffix is unknown.
    """

    def __init__(self, path: Path, video_key: str | None = None, caption_key: str | None = None) -> None:
        if not path.is_file():
            raise MissingInputError(f"There is no caption file {path}: give an existing one with data.captions=FILE.")
        check_suffix(path, "data.captions")
        self._path, self._video_key, self._caption_key = path, video_key, caption_key
        self.num_captions = 0
        self.problems: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)
        """Unusable rows by reason: their number, and places of the first."""
        self._others: dict[Any, None] = {}

    @property
    def rows(self) -> int:
        """Rows read; a row with several captions counts as several."""
        return self.num_captions + self.problems.total()

    def summary(self) -> str:
        """Rows read = captions + problems, with the place of the first problem of each kind."""
        kinds = ", ".join(
            f"{count:,} {kind}, e.g. {self.examples[kind][0]}" for kind, count in self.problems.most_common()
        )
        problems = f"{self.problems.total():,} problems ({kinds})" if kinds else "0 problems"
        others = ", ".join(repr(shown(name)[:40]) for name in list(self._others)[:_EXAMPLES])
        others += ", ..." if len(self._others) > _EXAMPLES else ""
        unread = f"; columns with further texts, which are not read: {others}" if others else ""
        return f"{self.rows:,} rows read = {self.num_captions:,} captions + {problems}{unread}"

    def entries(self) -> Iterator[CaptionEntry]:
        """Yield the captions in the order of the file.

        Raises:
            ConfigError: at the end, if no column for the videos or the captions was found.
            DataError: the content does not have the form that the suffix names, or no row has a caption.
        """
        file, columns = RecordFile(self._path), None
        is_table = kind_of(self._path) in TABLES
        for number, row in file.records():
            if isinstance(row, BadRecord):
                if not is_table and not row.kind.startswith(_COUNTED):
                    raise DataError(f"{self._path.parent / file.place(number)} is {row.reason}.")
                where = f"{self._path.name}, {row.where}" if row.where else file.place(number)
                self._add_problem(row.kind, where)
                continue
            if columns is None:
                columns = list(map(str, row))
            if len(self._others) <= _EXAMPLES:
                self._find_others(row)
            for entry in self._of_row(row, number):
                if isinstance(entry, str):
                    self._add_problem(entry, file.place(number))
                else:
                    self.num_captions += 1
                    yield entry
        self._check(columns or [])

    def check_columns(self) -> None:
        """Check the columns of a table by its first row; records of JSON may differ in their keys.

        Raises:
            ConfigError: there is no column for the videos or the captions.
        """
        if kind_of(self._path) not in (*TABLES, *PARQUETS):
            return
        row = next((row for _, row in RecordFile(self._path).records() if isinstance(row, Mapping)), None)
        if row is None:
            return
        key, text_key = _columns(tuple(row), self._video_key, self._caption_key)
        if key is None or (text_key is None and (self._caption_key or turns_of(row) is None)):
            raise self._lacks("video" if key is None else "caption", list(map(str, row)))

    def _find_others(self, row: Mapping[str, Any]) -> None:
        """Remember the columns of the row with texts that nothing reads."""
        for name in _other_columns(tuple(row), self._video_key, self._caption_key):
            value = row[name]
            if name in self._others or not isinstance(value, (str, list, dict)):
                continue
            if value and (not isinstance(value, str) or " " in value or not value.isascii()) and num_texts("", value):
                self._others[name] = None

    def _add_problem(self, reason: str, where: str) -> None:
        self.problems[reason] += 1
        if len(self.examples[reason]) < _EXAMPLES:
            self.examples[reason].append(where)

    def _check(self, columns: list[str]) -> None:
        if self.num_captions:
            return
        for kind, problem in (("video", _NO_VIDEO), ("caption", _NO_CAPTION)):
            if self.problems[problem]:
                raise self._lacks(kind, columns)
        raise DataError(f"{self._path} has no usable caption: {self.summary()}.")

    def _lacks(self, kind: str, columns: list[str]) -> ConfigError:
        names = ", ".join(map(shown, columns[:12]))
        header = " (or add the header line, if it has none)" if kind_of(self._path) in TABLES else ""
        return ConfigError(
            f"{self._path} has no column for the {kind} (it has {names}): name it with data.{kind}_column=NAME{header}."
        )

    def _of_row(self, row: Mapping[str, Any], number: int) -> Iterator[CaptionEntry | str]:
        """The captions of a row, or the reasons why it has none."""
        key, text_key = _columns(tuple(row), self._video_key, self._caption_key)
        turns = None if self._caption_key else turns_of(row)
        if key is None and not (named := videos_in(turns or ())):
            yield _NO_VIDEO
            return
        video, problem = _name(named if key is None else row[key])
        outer = None if self._video_key else row.get(KEY_OF_MAP)
        if outer is not None and not problem and not _is_number_of_row(outer, number, video):
            if not is_end(normal_parts(outer), normal_parts(video)):
                problem = CONTRADICTION
            video = max(outer, video, key=len)
        part = part_of(row)
        if problem:
            yield problem
        elif turns is None and text_key is None:
            yield _NO_CAPTION
        elif isinstance(part, str):
            yield part
        else:
            for caption in _texts(row[text_key] if turns is None else first_answer(turns)):
                yield caption_problem(caption) or CaptionEntry(video, caption, part)


def _is_number_of_row(key: str, number: int, video: str) -> bool:
    """Whether the key of a record counts rows, also those of a table of which some were taken out: `{"7": {...}}`."""
    return key in (str(number), str(number - 1)) or (key.isdigit() and not "".join(normal_parts(video)[-1:]).isdigit())


def _name(cell: Any) -> tuple[str, str]:
    """The name of a video in a row, or the reason why it has none."""
    if isinstance(cell, list):  # LLaMA-Factory and ms-swift: `videos`, one per `<video>` in the messages
        if len(cell) > 1:
            return "", "several videos in one row"
        cell = cell[0] if cell else None
    value: Any = cell.get("path") if isinstance(cell, Mapping) else cell  # data sets of the hub hold {bytes, path}
    if isinstance(value, str):
        name = value.strip(BLANK)
        return name, "" if name else "video is not text"
    if isinstance(value, (float, Decimal)) and abs(float(value)) < _MAX_EXACT and float(value).is_integer():
        value = int(value)  # a column of numbers with an empty cell is one of floating-point numbers
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value), ""
    if isinstance(value, (float, Decimal)):
        return "", "video is a number that is not a whole one"
    return "", "video is bytes that are not UTF-8" if isinstance(value, bytes) else "video is not text"


def _texts(value: Any) -> list[Any]:
    """The captions in a value: itself, those of a list, or those of a list in the notation of Python or JSON.

    Objects and lists of objects in these notations are returned as such, because they are not texts.
    """
    if isinstance(value, str) and value[:2] in ("['", '["', "[{", '{"', "{'") and value.rstrip()[-1:] in "]}":
        try:
            found = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [value]
        return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else [found]
    return value if isinstance(value, list) and value else [value]


@lru_cache(maxsize=256)
def _other_columns(columns: tuple[str, ...], video_key: str | None, caption_key: str | None) -> tuple[Any, ...]:
    """The columns of neither the video nor the caption nor a conversation."""
    used = (*_columns(columns, video_key, caption_key), KEY_OF_MAP, *(() if caption_key else TURN_KEYS))
    return tuple(name for name in columns if name not in used)


@lru_cache(maxsize=256)
def _columns(columns: tuple[str, ...], video_key: str | None, caption_key: str | None) -> tuple[Any, Any]:
    """The columns of the video and of the caption; None for each that is not there.

    Case is ignored, except where two columns differ in case only: then the one that is spelled as wanted is meant.
    """
    names = {str(name).strip(BLANK).casefold(): name for name in reversed(columns)}
    exact = {str(name).strip(BLANK): name for name in reversed(columns)}

    def first(wanted: Iterable[str]) -> Any:
        return next((exact.get(name, names[name.casefold()]) for name in wanted if name.casefold() in names), None)

    key = first([video_key] if video_key else (*VIDEO_KEYS, "videos", KEY_OF_MAP))
    return key, first([caption_key] if caption_key else [name for name in CAPTION_KEYS if name != key])
