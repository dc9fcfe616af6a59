"""Text files of strangers: their encoding is detected, and damage stays visible.

A byte that is not UTF-8 is decoded to a lone surrogate (`errors="surrogateescape"`), so that a reader can refuse the
row that holds it. A replacement character would become part of a caption without anyone noticing.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sg.core.errors import DataError

MAX_LINE = 2**26
"""Characters; a longer line or array element is not an annotation, but damage or an attack."""
CHUNK = 2**20
_START = 64
TABLES, LINES, PARQUETS = (".csv", ".tsv"), (".jsonl", ".ndjson"), (".parquet",)
TEXTS = (*TABLES, ".json", *LINES)
SUFFIXES = (*TEXTS, *PARQUETS)
PACKED = (".gz", ".bz2", ".xz")
_DAMAGE = re.compile("[\0\udc80-\udcff]")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_PACKERS: tuple[tuple[bytes, Callable[..., Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)
PARQUET = "a Parquet file"
_UNPACK = "unpack it first"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or a workbook", "unpack it, or save its table as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save its table as CSV in UTF-8"),
    (b"PAR1", PARQUET, "let its name end in .parquet"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"SQLite format 3", "an SQLite database", "export its table as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"%pdf", "a PDF file", "save its table as CSV in UTF-8"),
    (b"{\\rtf", "a file of a word processor", "save it as plain text"),
    (b"<!doctype html", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
)
"""Beginnings of files, in lower case where they are texts; what the file is; what to do."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A part of an annotation file that is not a record: the reason, with details in brackets.

    `where` is the name of the member that holds it, outside the list that is read.
    """

    reason: str
    where: str = ""

    @property
    def kind(self) -> str:
        """The reason without its details: what a report counts."""
        return self.reason.partition(" (")[0]


def kind_of(path: Path) -> str:
    """The suffix that decides how a file is read, in lower case: `.csv` for `train.csv` and `train.csv.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix in PACKED and inner in TEXTS else suffix


@contextmanager
def open_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text in UTF-8, UTF-16 or UTF-32, also one that is compressed with gzip, bzip2 or xz.

    Its content decides, not its name: programs that download files unpack some and keep the name.

    Raises:
        DataError: it is a file of another kind, its compressed data is damaged, or its UTF-16 or UTF-32.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_START)
        if found := _foreign(start):
            raise DataError(f"{path} is {found[0]}, but its name ends in {path.suffix}: {found[1]}.")
        opener = next((opener for magic, opener in _PACKERS if start.startswith(magic)), None)
        with path.open("rb") if opener is None else opener(path) as raw:
            encoding, skipped = _encoding(raw.read(_START))
            raw.seek(skipped)
            errors = "surrogateescape" if encoding == "utf-8" else "strict"
            yield io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"{path} is a compressed file that is damaged or cut off ({error}): copy or download it again."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not {error.encoding} text: {error.reason}. Save it as UTF-8.") from error


def foreign_kind(path: Path) -> str:
    """What a file is that is neither a text nor compressed; "" if it may be a text."""
    with path.open("rb") as stream:
        return next(iter(_foreign(stream.read(_START))), "")


def _foreign(start: bytes) -> tuple[str, ...]:
    begin = start.lstrip(b"\xef\xbb\xbf \t\r\n") if start[:1] in b"\xef<%v \t\r\n" else start
    for magic, what, remedy in _FOREIGN:
        if begin.startswith(magic) or begin[: len(magic)].lower() == magic:
            return what, remedy
    return ()


def _encoding(start: bytes) -> tuple[str, int]:
    """The encoding, and the number of bytes of its marks, which some programs write twice.

    Without a mark, a NUL beside the first character is UTF-16.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            rest = start
            while rest.startswith(mark):
                rest = rest.removeprefix(mark)
            return encoding, len(start) - len(rest)
    if start[:1] and start[1:2] == b"\0":
        return "utf-16-le", 0
    return ("utf-16-be" if start[:1] == b"\0" and start[1:2] else "utf-8"), 0


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
