"""Rows of a table that a line break without quotes divides: neither part is a row.

`a.mp4,A cat` and `that sleeps, well` have two columns each, but the first one lacks the end of its caption.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from sg.sources.records.listed_videos import is_file
from sg.sources.records.texts import BadRecord

Row = tuple[int, Mapping[str, str] | BadRecord]
"""The line of a row, and its values by column."""
_BROKEN = BadRecord("a row that may continue in another line (quote a field that holds line breaks)")
_ENDS_AS_FILE = re.compile(r"\.\w{2,5}$")
_YOUTUBE_LENGTH = 11
_ID = re.compile(r"\S*[\d_]\S*")
_WORD = re.compile(r"[(\"“„«‘']*([^\W\d_]+(?:['’-][^\W\d_]+)*)[.,!?;:)\"”“»’']*")


@dataclass(frozen=True, slots=True)
class ShortRow(BadRecord):
    """A row with fewer fields than the header."""

    fields: tuple[str, ...] = ()


def without_broken_rows(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, but none that lacks a part of its first or last field because of a line break without quotes.

    Such a row has all its columns, and the line after or before it begins or ends with words instead of a name.
    """
    before: Row | None = None
    is_open = False
    fields: tuple[str, ...] = ()
    for row, following in pairwise(chain(rows, [None])):
        assert row is not None
        if before is not None and before[1] is not _BROKEN:  # a text may have several rests
            fields = () if isinstance(before[1], BadRecord) else _fields_of(before)
        after, next_fields = _fields_of(row), _fields_of(following)
        if fields and _continues(fields, after, next_fields):
            before = _bad(before)
            row = row if isinstance(row[1], BadRecord) else _bad(row)
            fields = () if is_file(after[-1]) else fields  # the name of a file ends its row
        elif isinstance(row[1], ShortRow):
            is_new = before is None or bool(fields) or before[1] is _BROKEN
            may_begin = len(after) == 1 or any(map(is_file, next_fields[1:]))
            is_open = is_open or (is_new and may_begin and " " in after[0].strip())
        elif is_open:
            is_open = False
            if after and (" " in after[0] or after[0].isalpha()):
                row = _bad(row)
        if before is not None:
            yield before
        before = row
    if before is not None:
        yield before


def _bad(row: Row | None) -> Row:
    assert row is not None
    return row[0], _BROKEN


def _fields_of(row: Row | None) -> tuple[str, ...]:
    if row is None or isinstance(row[1], BadRecord):
        return row[1].fields if row is not None and isinstance(row[1], ShortRow) else ()
    return tuple(row[1].values())


def _continues(before: Sequence[str], after: Sequence[str], following: Sequence[str]) -> bool:
    """Whether the row `after` may be the rest of the text at the end of the row before.

    Words behind a row with the name of a file are, and words between two rows with ids. Where names are neither,
    several words in a shorter row are, and one word where no field of the row before is a single word.
    """
    first, last = after[0].strip() if after else "", before[-1].strip()
    if not (first and last) or first.startswith("#"):
        return False
    is_short = len(after) < len(before)
    has_index = len(before) > 1 and before[0].strip().isdigit() and _ENDS_AS_FILE.search(before[1])
    place = 1 if has_index else 0
    name, rest, next_name = (row[min(place, len(row) - 1)].strip() if row else "" for row in (before, after, following))
    if _ENDS_AS_FILE.search(name):
        is_url = "://" in rest and "://" not in name
        is_rest = is_short or is_url or len(first.split()) > 2 or (bool(following) and _are_words(first))
        return is_rest and (is_url or not _ENDS_AS_FILE.search(rest))
    has_file = any(map(_ENDS_AS_FILE.search, before))  # the names are in another column
    if not (is_short or has_file) and _ID.fullmatch(name) and _ID.fullmatch(next_name):
        return _are_words(rest) and (len(rest) != len(name) or len(rest) < _YOUTUBE_LENGTH)
    if is_short:
        is_word = len(after) == 1 and first.isalpha() and not any(map(str.isalpha, before[:-1]))
        if " " in first:
            return " " in last or (len(after) == 1 and last.isalpha())
        return is_word and (" " in last or not last.isascii())  # Chinese and Japanese have no spaces
    if is_file(after[-1]) and "://" not in after[-1] and not _ENDS_AS_FILE.search(after[0]):
        return not is_file(last) and _are_words(last)  # the names are in the last column
    return False


def _are_words(text: str) -> bool:
    """Whether a text has several words, or is one word: in letters whose case is that of a word."""
    word = _WORD.fullmatch(text)
    return " " in text or (word is not None and (word[1].isupper() or word[1][1:] == word[1][1:].lower()))
