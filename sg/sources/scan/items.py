"""A video of an annotation file, and the keys by which its file is found on disk.

Ids and names are untrusted. They are checked against the form that the dataset uses, serve as look-up keys only, and
never become part of a path: all paths come from the walk through the folder.
"""

from __future__ import annotations

import re
import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote

from sg.sources.scan.parts import is_as_long
from sg.sources.scan.timestamps import parse_range_ms, parse_time_ms

CONTRADICTION = "a key and a value that name different videos"
EMPTY_CAPTION = "empty caption"
MAX_CAPTION = 20_000
"""Characters kept of one text of an annotation."""
_YOUTUBE_LENGTH = 11
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
_IN_URL = re.compile(r"(?:[?&]v=|youtu\.be/|/(?:embed|shorts|v|live)/)([A-Za-z0-9_-]{11})(?![A-Za-z0-9_-])", re.ASCII)
_TIME = r"(?:\d{1,2}[:_-]\d{2}[:_-]\d{2}(?:\.\d{1,9})?|\d{1,9}(?:\.\d{1,9})?)"
_CLIP_NAME = re.compile(rf"(?P<id>[A-Za-z0-9_-]{{11}})[_.-](?P<start>{_TIME})[_-](?P<end>{_TIME})", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2})[_-](\d{2})[_-](\d{2})")
_NOTHING = frozenset(
    (
        *("", "nan", "-nan", "none", "null", "(null)", "nil", "na", "n/a", "<na>", "nat", "undefined", "\\n"),
        *("#n/a", "#n/a n/a", "#na", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    )
)
_SHEET_ERROR = re.compile(r"#(?!\d)[^\sa-z]+[!?]|#\w/\w|#NV|#GETTING_DATA|Err:\d{3}")
"""What spreadsheets of several languages write instead of a value: `#NAME?`, `#SPILL!`, `#WERT!`, `#N/D`, `Err:502`."""
BLANK = string.whitespace + "\xa0\u2028\u2029\u3000\u200b\u200c\u200d\u2060\ufeff"
"""White space and characters of no width, which text copied from web pages holds."""
_SPLIT = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")


class AnnotatedVideo(NamedTuple):
    """One video of an annotation file.

    Attributes:
        video_id: its id in the manifest.
        keys: names that belong to this video alone.
        weak_keys: names that are used only if exactly one file and one video of the annotations have them.
        hints: names of folders; of several files with the same key, the one in such a folder is used.
        caption_problem: why the caption of the annotation cannot be used.
        range_ms: start and end within the YouTube video, in milliseconds.
        is_named_only: the id is only a name, which two videos of the dataset may have.
        extra: further values for the manifest's column `extra`.
    """

    video_id: str
    keys: tuple[str, ...]
    weak_keys: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    caption: str = ""
    caption_problem: str = ""
    split: str = ""
    youtube_id: str = ""
    range_ms: tuple[int, int] | None = None
    extra: Mapping[str, Any] = {}
    is_named_only: bool = False

    @property
    def same_video(self) -> tuple[str, str]:
        """Equal for two records that are certainly of one video."""
        return self.video_id, self.caption if self.is_named_only else ""

    def is_as_long(self, duration_s: float) -> bool:
        """Whether a duration agrees with the time range."""
        return self.range_ms is None or is_as_long((self.range_ms[1] - self.range_ms[0]) / 1000, duration_s)


@dataclass(frozen=True, slots=True)
class Problem:
    """A record without a usable video: the reason, and the value in the record."""

    reason: str
    detail: str = ""


class SetReader(ABC):
    """How one published dataset writes its annotations and names its files."""

    name: ClassVar[str]
    """Names the dataset in manifests."""
    licence: ClassVar[str]
    """Licence of the annotations and of the videos, in a sentence."""
    published: ClassVar[bool] = True
    """Whether its terms allow to publish what is derived from it (`sg push`)."""

    @abstractmethod
    def items(self, record: Mapping[str, Any], origin: str) -> Iterator[AnnotatedVideo | Problem]:
        """The videos of one record of the annotation file `origin`, or of the JSON file beside a video file."""

    def file_keys(self, name: str) -> Iterable[str]:
        """Every key under which a file of this name (relative path) may be looked up."""
        return name_keys(name.rpartition("/")[2].rpartition(".")[0])

    def record_lost(self) -> None:  # noqa: B027 - most datasets do not count their records
        """A record before the next one could not be read."""

    def lacks_time_range(self, name: str) -> bool:
        """Whether a file's name does not tell its time range, so that its duration has to agree with a caption's."""
        return False


def video_part(
    record: Mapping[str, Any], ids: tuple[str, ...], starts: tuple[str, ...], ends: tuple[str, ...]
) -> tuple[str, tuple[int, int]] | Problem:
    """YouTube id and time range in milliseconds of a record, from the first of the named columns that it has."""
    value = first_of(record, *ids)
    name = youtube_id(value)
    if name is None:
        return Problem("no YouTube id", shown(value))
    start, end = first_of(record, *starts), first_of(record, *ends)
    span = parse_range_ms(start, end)
    return (name, span) if span else Problem("no time range", f"{shown(name)}: {shown(start)} to {shown(end)}")


def text_of(value: Any) -> str:
    """`value` as text, or "" where it is not text or cannot be stored: JSON may hold halves of surrogate pairs."""
    if not isinstance(value, str):
        return ""
    try:
        value[:MAX_CAPTION].encode()
    except UnicodeEncodeError:
        return ""
    return value[:MAX_CAPTION]


def caption_problem(value: Any) -> str:
    """Why a value of an annotation cannot be a caption; "" if it can be one."""
    if not isinstance(value, str):
        return "caption is not text"
    if is_nothing(value):
        return EMPTY_CAPTION
    if len(value) > MAX_CAPTION:
        return f"caption longer than {MAX_CAPTION:,} characters"
    if "\0" in value:
        return "caption holds NUL characters"
    if "\ufffd" in value:
        return "caption holds replacement characters"  # an earlier program could not decode it
    return "" if value.isascii() or text_of(value) else "caption holds halves of characters"


def caption_of(value: Any) -> tuple[str, str]:
    """The caption of a published dataset, and the problem with it if there is one.

    A word such as `None` is kept, because it may be meant; an error of a spreadsheet such as `#NAME?` is not.
    """
    problem = "" if value is None else caption_problem(value)
    if problem and problem != EMPTY_CAPTION:
        return "", problem
    text = text_of(value)
    bare = text.strip(BLANK)
    is_word = not bare or bare.isalpha()
    return ("", EMPTY_CAPTION) if _is_missing(bare) and not is_word else (text, "")


def is_nothing(text: str) -> bool:
    """Whether a text has no letter or digit, or is what pandas, SQL and spreadsheets write for a missing value."""
    return _is_missing(text.strip(BLANK)) or not any(map(str.isalnum, text))


def _is_missing(text: str) -> bool:
    return text.casefold() in _NOTHING or bool(_SHEET_ERROR.fullmatch(text))


def shown(value: Any) -> str:
    """An untrusted value for a report: shortened, on one line, without control characters."""
    text = value if isinstance(value, str) else repr(value)[:200]
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:120])


def first_of(record: Mapping[str, Any], *names: str) -> Any:
    """The first of the named values that exists and is not empty."""
    for name in names:
        value = record.get(name)
        if value not in (None, ""):
            return value
    return None


def youtube_id(value: Any) -> str | None:
    """The YouTube id that `value` is, or that its URL contains; None otherwise. Ids are case-sensitive."""
    if not isinstance(value, str):
        return None
    if _YOUTUBE_ID.fullmatch(value):
        return value
    found = _IN_URL.search(value[:2000]) if "://" in value[:10] else None
    return found[1] if found else None


@lru_cache(maxsize=1024)
def split_of(origin: str) -> str:
    """`train`, `val` or `test` where the name of the annotation file contains it, else ""."""
    found = _SPLIT.search(origin.rpartition("/")[2].lower())
    return found[1] if found else ""


def url_stem(value: Any) -> str:
    """The last part of the path of a URL, or of a path, decoded and without suffix."""
    if not isinstance(value, str):
        return ""
    path = value[:2000]
    if "://" in path[:10]:
        path = path.partition("?")[0].partition("#")[0]
    if "%" in path:
        path = unquote(path)
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def range_key(name: str, range_ms: tuple[int, int]) -> str:
    """The key of a time range of a YouTube video; video ids contain it too."""
    return f"{name}@{range_ms[0]}-{range_ms[1]}"


def rounded_key(name: str, range_ms: tuple[int, int]) -> str:
    """The key of a time range of which the file name holds whole seconds only."""
    return f"{name}~{range_ms[0] // 1000}-{range_ms[1] // 1000}"


def any_part_key(name: str) -> str:
    """The key of a YouTube video or any time range of it."""
    return f"{name}*"


def named_range(stem: str, pattern: re.Pattern[str] = _CLIP_NAME) -> tuple[str, tuple[int, int]] | None:
    """YouTube id and time range in the name of a clip's file; None where the name has another form."""
    found = pattern.fullmatch(stem) if len(stem) <= 200 else None
    if found is None or youtube_id(found["id"]) is None:
        return None
    times = (_CLOCK.sub(r"\1:\2:\3", found[group]) for group in ("start", "end"))
    span = parse_range_ms(*times)
    return None if span is None else (found["id"], span)


def name_keys(stem: str, pattern: re.Pattern[str] | None = None) -> Iterator[str]:
    """Yield every key by which a file of this name (without folders and suffix) may be looked up."""
    yield stem
    if len(stem) < _YOUTUBE_LENGTH:
        return
    named = named_range(stem, pattern) if pattern else named_range(stem)
    if named is None:
        if _YOUTUBE_ID.fullmatch(stem):
            yield any_part_key(stem)
        return
    name, span = named
    yield range_key(name, span)
    yield f"{name}@{span[0]}"
    if not span[0] % 1000 and not span[1] % 1000:
        yield rounded_key(name, span)
    yield any_part_key(name)


def sidecar_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON that video2dataset writes beside a file, with the time range of a clip as columns of an annotation."""
    clips = record.get("clips")
    first = clips[0] if isinstance(clips, list) and clips else None
    span = {}
    if isinstance(first, list) and len(first) == 2 and parse_time_ms(first[0]) is not None:
        span = {"clip_start": first[0], "clip_end": first[1]}
    return {**span, **record}
