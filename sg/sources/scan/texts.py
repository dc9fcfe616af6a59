"""Text files of strangers: their encoding is detected, and damage stays visible.

A byte that is not UTF-8 is decoded to a lone surrogate (`errors="surrogateescape"`), so that a reader can refuse the
row that holds it. A replacement character would become part of a caption without anyone noticing.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sg.core.errors import DataError

MAX_LINE = 2**26
"""Characters; a longer line or array element is not an annotation, but damage or an attack."""
CHUNK = 2**20
TABLES, LINES, PARQUETS = (".csv", ".tsv"), (".jsonl", ".ndjson"), (".parquet",)
TEXTS = (*TABLES, ".json", *LINES)
SUFFIXES = (*TEXTS, *PARQUETS)
PACKED = ".gz"
_DAMAGE = re.compile("[\0\udc80-\udcff]")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A part of an annotation file that is not a record: the reason, with details in brackets."""

    reason: str

    @property
    def kind(self) -> str:
        """The reason without its details: what a report counts."""
        return self.reason.partition(" (")[0]


def kind_of(path: Path) -> str:
    """The suffix that decides how a file is read, in lower case: `.csv` for `train.csv` and `train.csv.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == PACKED and inner in TEXTS else suffix


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text in UTF-8, UTF-16 or UTF-32, with gzip where its name ends in `.gz`.

    Raises:
        DataError: a gzip file is cut off or is none, or UTF-16 or UTF-32 is damaged.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == PACKED else path.open("rb") as raw:
            encoding = _encoding(raw.read(4))
            raw.seek(0)
            errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
            yield io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a complete gzip file: {error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not {error.encoding} text: {error.reason}. Save it as UTF-8.") from error


def _encoding(start: bytes) -> str:
    """The encoding by the byte order mark; without one, a NUL beside the first character is UTF-16."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if start[:1] and start[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if start[:1] == b"\0" and start[1:2] else "utf-8-sig"


def damage(text: str) -> BadRecord | None:
    """Why a text cannot be trusted: bytes that are not UTF-8, or NUL; None for good text."""
    found = None if text.isascii() and "\0" not in text else _DAMAGE.search(text)
    if found is None:
        return None
    return BadRecord("a NUL character" if found[0] == "\0" else "not UTF-8 text (convert the file to UTF-8)")


def first_character(path: Path) -> str:
    """The first character of a text that is not white space; "" where the first megabyte has none."""
    with open_text(path) as stream:
        return stream.read(CHUNK).lstrip()[:1]
