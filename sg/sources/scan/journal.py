"""The results of an unfinished scan, kept in append-only JSON Lines, so that a scan after a kill can resume.

A line is `[key, value, checksum]`, where the checksum is the CRC-32 of the line without it.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO


class ScanJournal:
    """A mapping from text keys to JSON values; an entry is on disk as soon as it is added.

    A line that is damaged, or incomplete because of a kill, is ignored, and the next entry begins on a new line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: TextIO | None = None
        self.entries: dict[str, Any] = {}
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as stream:
                for line in stream:
                    try:
                        key, value, *checksum = json.loads(line)
                    except (ValueError, TypeError):
                        continue
                    # Earlier versions wrote no checksum.
                    if checksum in ([], [_checksum(key, value)]):
                        self.entries[key] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, key: str, value: Any) -> None:
        """Store an entry; it is flushed, so that it survives the death of this process."""
        if self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("a", encoding="utf-8")
            if not _ends_a_line(self._path):
                self._stream.write("\n")
        self.entries[key] = value
        self._stream.write(json.dumps([key, value, _checksum(key, value)]) + "\n")
        self._stream.flush()


def _checksum(key: Any, value: Any) -> int:
    return zlib.crc32(json.dumps([key, value]).encode())


def _ends_a_line(path: Path) -> bool:
    if not path.stat().st_size:
        return True
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"
