"""Members of a tar file, with the position of their bytes. Headers are untrusted: every size and name is checked.

Python's `tarfile` is not used, because it follows extended headers of any size and trusts their content. Only regular
files with a plain name are returned. Links, devices, sparse files, other names and wrong sizes are counted and skipped.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sg.core.places.ranges import opened, size_of

_BLOCK = 512
MAX_MEMBERS = 1_000_000
_PLAIN_NAME = re.compile(r"(?:\./)?([A-Za-z0-9_][A-Za-z0-9_.@-]{0,230}\.[A-Za-z0-9]{1,8})", re.ASCII)
_REGULAR = (b"0", b"\0", b"7")
_EXTENDED = (b"x", b"g", b"L", b"K")
"""Headers about the next member: of POSIX for it and for all, and GNU's long name and long link."""
_MAX_EXTENSION = 2**16
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
COMPRESSED = "a compressed archive, whose videos cannot be read in place (decompress it to a .tar file)"


@dataclass(frozen=True, slots=True)
class TarMember:
    """A regular file in a tar file: `size` bytes from `offset`."""

    name: str
    offset: int
    size: int


def tar_members(path: Path, problems: Counter[str]) -> Iterator[TarMember]:
    """Yield the usable members of an uncompressed tar file; all others are counted in `problems`."""
    length = size_of(path)
    seen: set[str] = set()
    extended: dict[str, str] = {}
    with opened(path) as stream:
        place = number = 0
        while (header := _header_at(stream, place, problems)) is not None:
            kind = header[156:157]
            size = _number(header[124:136]) if kind in _EXTENDED else _stated_size(header, extended)
            place += _BLOCK
            number += 1
            if size is None or place + size > length:
                problems["a member that is cut off or has a wrong size"] += 1
                return
            if number > MAX_MEMBERS:
                problems[f"more than {MAX_MEMBERS:,} members"] += 1
                return
            if kind in _EXTENDED:
                extended |= _extension(kind, stream, size)
            else:
                name = _usable_name(header, extended, problems)
                extended = {}
                if name is not None and name in seen:
                    problems["a second member of the same name"] += 1
                elif name is not None:
                    seen.add(name)
                    yield TarMember(name, place, size)
            place += -(-size // _BLOCK) * _BLOCK


def _extension(kind: bytes, stream: BinaryIO, size: int) -> dict[str, str]:
    """What an extended header, which is at the position of `stream`, states about the next member.

    Of GNU's long names and the POSIX headers of one member, `path` and `size` are read; an unknown path is "".
    """
    if kind not in (b"L", b"x"):
        return {}
    data = stream.read(size) if size <= _MAX_EXTENSION else b""
    if kind == b"L":
        return {"path": data.rstrip(b"\0").decode("utf-8", "replace")}
    stated: dict[str, str] = {}
    while data:
        digits, _, _ = data.partition(b" ")
        end = int(digits) if re.fullmatch(rb"[1-9][0-9]{0,6}", digits) else 0
        key, equals, value = data[len(digits) + 1 : end].partition(b"=")
        if not equals or not value.endswith(b"\n") or end > len(data):
            return {"path": ""}
        stated[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "replace")
        data = data[end:]
    if size > _MAX_EXTENSION or any(key.startswith("GNU.sparse") for key in stated):
        return {"path": ""}
    return {key: stated[key] for key in ("path", "size") if key in stated}


def _stated_size(header: bytes, extended: Mapping[str, str]) -> int | None:
    if "size" in extended:
        return int(extended["size"]) if re.fullmatch("[0-9]{1,15}", extended["size"], re.ASCII) else None
    return _number(header[124:136])


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
        is_compressed = not place and header.startswith(_COMPRESSED)
        problems[COMPRESSED if is_compressed else "not a tar file, or damaged"] += 1
        return None
    return header


def _usable_name(header: bytes, extended: Mapping[str, str], problems: Counter[str]) -> str | None:
    kind = header[156:157]
    if kind not in _REGULAR:
        if kind != b"5":
            problems["a link, device, or other special member"] += 1
        return None
    text = extended.get("path", header[:100].partition(b"\0")[0].decode("utf-8", "replace"))
    prefix = header[345:500].partition(b"\0")[0] if header[257:262] == b"ustar" and "path" not in extended else b""
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
