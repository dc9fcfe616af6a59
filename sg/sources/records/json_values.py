"""Values of JSON files, one at a time: no file is loaded whole, and no value is lost without a word."""

from __future__ import annotations

import ast
import json
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.sources.records.texts import CHUNK, MAX_LINE, BadRecord, damage, open_text

_MAX_LITERAL = 2**20
_SPACE = " \t\r\n"
TWICE = BadRecord("a key that is there twice (with different values)")


class JsonDecoder:
    """Decodes JSON. Python's decoder takes the last of two values of one key, and the first is gone."""

    def __init__(self) -> None:
        self._json = json.JSONDecoder(object_pairs_hook=self._object)
        self._is_twice = False

    def first(self, text: str, place: int) -> tuple[Any | BadRecord, int]:
        """The value that begins at `place`, and the place after it.

        Raises:
            ValueError: it is not JSON.
            RecursionError: it is nested too deeply.
        """
        self._is_twice = False
        value, after = self._json.raw_decode(text, place)
        return TWICE if self._is_twice else value, after

    def whole(self, text: str) -> Any | BadRecord:
        """The value of a whole text in JSON, or in the form of a Python dict."""
        text = text.lstrip().removeprefix("\ufeff")  # files that were appended to each other
        start = len(text) - len(text.lstrip())
        try:
            value, after = self.first(text, start)
        except RecursionError:
            return BadRecord("not JSON (nested too deeply)")
        except ValueError as error:
            return _literal(text) if text[start : start + 2] == "{'" else BadRecord(f"not JSON ({error})")
        behind = text[after:].strip().removeprefix(",")  # as copied from an array
        return BadRecord(f"not JSON (text follows its end: {behind[:20]!r})") if behind else value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            self._is_twice = self._is_twice or any(value[key] != other for key, other in pairs)
        return value


def _literal(text: str) -> Any | BadRecord:
    try:
        tree = ast.parse(text.strip() if len(text) <= _MAX_LITERAL else "", mode="eval")
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return BadRecord("not JSON (and not a Python literal)")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = [(ast.dump(key), ast.dump(item)) for key, item in zip(node.keys, node.values, strict=True) if key]
            if len(dict(pairs)) != len(set(pairs)):
                return TWICE
    return value


def json_lines(path: Path) -> Iterator[tuple[int, Any | BadRecord]]:
    """Yield one value per line. Lines in the form of a Python dict are read too, with the parser for literals only."""
    decoder, number = JsonDecoder(), 0
    with open_text(path) as stream:
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                while line and not line.endswith("\n"):
                    line = stream.readline(MAX_LINE)
                yield number, BadRecord(f"longer than {MAX_LINE:,} characters")
            elif line.strip():
                yield number, damage(line) or decoder.whole(line)


class JsonScanner:
    """Reads the values of a JSON file one at a time: the elements of an array, the members of an object, or a sequence.

    Raises:
        DataError: while it is read, where the text is broken or cut off, or where text follows its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = JsonDecoder()
        self._buffer, self._place, self._ended, self._lines = "", 0, False, 0

    def elements(self) -> Iterator[Any | BadRecord]:
        """The elements of an array; a BadRecord where the text of one is not UTF-8."""
        with open_text(self._path) as self._stream:
            self._open("[")
            while self._continues("]"):
                yield self._next()
            self._check_end()

    def members(self, lists: Container[str] = ()) -> Iterator[tuple[str, Any | BadRecord, bool]]:
        """Name and value of the members of an object, also of repeated names.

        Of a list whose name is in `lists`, the elements are yielded one by one, and the last value is True.
        """
        with open_text(self._path) as self._stream:
            self._open("{")
            while self._continues("}"):
                key = self._next()
                name, bad = str(key), key if isinstance(key, BadRecord) else None
                self._skip(_SPACE + ":")
                if name.casefold() in lists and self._buffer.startswith("[", self._place):
                    self._place += 1
                    while self._continues("]"):
                        yield name, self._next(), True
                else:
                    value = self._next()
                    yield name, bad or value, False
            self._check_end()

    def sequence(self) -> Iterator[Any | BadRecord]:
        """Values one after the other, such as one object per line, or objects of several lines."""
        with open_text(self._path) as self._stream:
            self._skip(_SPACE)
            while self._place < len(self._buffer):
                yield self._next()
                self._skip(_SPACE + ",")

    def _open(self, first: str) -> None:
        self._skip(_SPACE)
        if not self._buffer.startswith(first, self._place):
            raise DataError(f"{self._path} is not JSON: it should begin with {first}.")
        self._place += 1

    def _continues(self, last: str) -> bool:
        """Skip to the next element; False behind the end."""
        self._skip(_SPACE + ",")
        is_end = self._buffer.startswith(last, self._place)
        self._place += is_end
        return not is_end

    def _check_end(self) -> None:
        self._skip(_SPACE)
        if self._place < len(self._buffer):
            behind = self._buffer[self._place : self._place + 40]
            raise DataError(
                f"{self._path} is not JSON: text follows the end of its first value ({behind!r}): write one value, or "
                "one per line with the suffix .jsonl."
            )

    def _skip(self, characters: str) -> None:
        while True:
            while self._place < len(self._buffer) and self._buffer[self._place] in characters:
                self._place += 1
            if self._place < len(self._buffer) or self._ended:
                return
            self._read()

    def _read(self) -> None:
        # As much again as is waiting, so that parsing a long element again and again takes linear time in total.
        more = self._stream.read(max(CHUNK, len(self._buffer) - self._place))
        self._lines += self._buffer.count("\n", 0, self._place)
        self._buffer, self._place, self._ended = self._buffer[self._place :] + more, 0, not more

    def _next(self) -> Any | BadRecord:
        while True:
            try:
                value, after = self._decoder.first(self._buffer, self._place)
                # A number at the end of the buffer may continue in the next chunk: "12" of "123" parses as well.
                if after == len(self._buffer) and not self._ended:
                    raise json.JSONDecodeError("may continue", self._buffer, after)
            except RecursionError as error:
                raise DataError(f"{self._path} is not JSON: nested too deeply.") from error
            except ValueError as error:
                if self._ended or len(self._buffer) - self._place > MAX_LINE:
                    raise DataError(self._broken(error)) from error
                self._read()
                continue
            bad = damage(self._buffer[self._place : after])
            self._place = after
            return bad or value

    def _broken(self, error: ValueError) -> str:
        if not isinstance(error, json.JSONDecodeError):
            return f"{self._path} is not JSON: {error}."
        is_cut = error.pos >= len(self._buffer.rstrip()) or "Unterminated" in error.msg
        remedy = "it seems to be cut off: copy or download it again" if is_cut else "correct this place"
        return f"{self._path} is not JSON: {error.msg}, line {self._lines + error.lineno}: {remedy}."
