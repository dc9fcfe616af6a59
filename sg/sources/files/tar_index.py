"""Members of a tar file, with the position of their bytes. Headers are untrusted: every size and name is checked.

Python's `tarfile` is not used, because it follows extended headers of any size and hides the position of the bytes.
Only regular files with a plain name are returned. Links, devices, sparse files, long names and wrong sizes are counted
and skipped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = 512
MAX_MEMBERS = 1_000_000
_PLAIN_NAME = re.compile(r"(?:\./)?([A-Za-z0-9_][A-Za-z0-9_.@-]{0,150}\.[A-Za-z0-9]{1,8})", re.ASCII)
_REGULAR, _EXTENDED = (b"0", b"\0", b"7"), (b"x", b"g")


@dataclass(frozen=True, slots=True)
class TarMember:
    """A regular file in a tar file: `size` bytes from `offset`."""

    name: str
    offset: int
    size: int


def tar_members(path: Path, problems: Counter[str]) -> Iterator[TarMember]:
    """Yield the usable members of an uncompressed tar file; all others are counted in `problems`."""
    length = path.stat().st_size
    seen: set[str] = set()
    with path.open("rb") as stream:
        place = number = 0
        while (header := _header_at(stream, place, problems)) is not None:
            size = _number(header[124:136])
            place += _BLOCK
            number += 1
            if size is None or place + size > length:
                problems["a member that is cut off or has a wrong size"] += 1
                return
            if number > MAX_MEMBERS:
                problems[f"more than {MAX_MEMBERS:,} members"] += 1
                return
            name = _usable_name(header, problems)
            if name is not None and name in seen:
                problems["a second member of the same name"] += 1
            elif name is not None:
                seen.add(name)
                yield TarMember(name, place, size)
            place += -(-size // _BLOCK) * _BLOCK


def _header_at(stream: BinaryIO, place: int, problems: Counter[str]) -> bytes | None:
    """The next header; None at the end of the archive."""
    stream.seek(place)
    header = stream.read(_BLOCK)
    if len(header) < _BLOCK or not any(header):
        if (not header and place) or 0 < len(header) < _BLOCK:
            problems["the archive ends without its end mark"] += 1
        return None
    stated = _number(header[148:156])
    if stated != sum(header) - sum(header[148:156]) + 8 * 32:
        problems["not a tar file, or damaged"] += 1
        return None
    return header


def _usable_name(header: bytes, problems: Counter[str]) -> str | None:
    kind = header[156:157]
    if kind in _EXTENDED:  # holds times and owners of the next member; Python's tarfile writes them
        return None
    if kind not in _REGULAR:
        if kind != b"5":
            problems["a link, device, or other special member"] += 1
        return None
    text = header[:100].partition(b"\0")[0].decode("utf-8", "replace")
    prefix = header[345:500].partition(b"\0")[0] if header[257:262] == b"ustar" else b""
    found = None if prefix else _PLAIN_NAME.fullmatch(text)
    if found is None:
        problems["a member whose name is not a plain file name"] += 1
        return None
    return found[1]


def _number(text: bytes) -> int | None:
    """A number in octal or, for large files, in base 256; None for all other bytes."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    digits = text.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", digits):
        return None
    return int(digits or b"0", 8)
