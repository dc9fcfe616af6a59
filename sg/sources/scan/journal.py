"""The results of an unfinished scan, kept in append-only JSON Lines, so that a scan after a kill can resume.

A line is `[key, value, checksum]`, where the checksum is the CRC-32 of the line without it.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from sg.sources.scan.key_index import KeyIndex

_decode = json.JSONDecoder().raw_decode


class ScanJournal:
    """A mapping from text keys to JSON values; an entry is on disk as soon as it is added.

    Values are read from the file again, because those of ten million videos need gigabytes. A line that is damaged, or
    incomplete because of a kill, is ignored, and the next entry begins on a new line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._reader: BinaryIO | None = None
        self._lines = KeyIndex()
        """The position of the line of each key."""
        if path.is_file():
            with path.open("rb") as stream:
                place = 0
                for line in stream:
                    if entry := _entry(line):
                        self._lines.add(entry[0], place)
                    place += len(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._stream, self._reader):
            if stream is not None:
                stream.close()

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, key: str) -> Any:
        """The last value that was stored for a key; None if there is none."""
        for place in self._lines.numbers(key):
            self._reader = self._reader or self._path.open("rb")
            self._reader.seek(place)
            entry = _entry(self._reader.readline())
            if entry and entry[0] == key:
                return entry[1]
        return None

    def add(self, key: str, value: Any) -> None:
        """Store an entry; it is flushed, so that it survives the death of this process."""
        if self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("ab")
            if not _ends_a_line(self._path):
                self._stream.write(b"\n")
        self._lines.add(key, self._stream.tell())
        self._stream.write(json.dumps([key, value, _checksum(key, value)]).encode() + b"\n")
        self._stream.flush()


def _entry(line: bytes) -> tuple[str, Any] | None:
    """Key and value of a line; None where it is damaged."""
    body, _, end = line.rpartition(b", ")
    if end == b"%d]\n" % zlib.crc32(body + b"]"):
        key, value, _ = _decode(line.decode())[0]
        return key, value
    try:
        key, value, *checksum = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, TypeError):
        return None
    # Earlier versions wrote no checksum.
    return (key, value) if checksum in ([], [_checksum(key, value)]) else None


def _checksum(key: Any, value: Any) -> int:
    return zlib.crc32(json.dumps([key, value]).encode())


def _ends_a_line(path: Path) -> bool:
    if not path.stat().st_size:
        return True
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"
