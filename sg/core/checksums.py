"""Checksums in finished files: a damaged file is reported instead of read.

A Parquet file has its checksum in the metadata of its footer, a JSON object as its last key, and a line of JSON Lines
as the last key of its object. The checksum is the CRC-32 of all bytes of the file (or line) except its own 8 digits.
A file without a checksum is accepted: another program wrote it, or an earlier version of this one.
"""

import functools
import mmap
import re
import zlib
from pathlib import Path

from sg.core.errors import DataError, disk_problem

CHECKSUM_KEY = "sg.crc32"
CHECKSUM_UNSET = f"{CHECKSUM_KEY}:00000000"
"""The value of the key before the checksum is known. It repeats the key: damage to one of them hides no checksum."""

_MARK = CHECKSUM_KEY.encode()
_SET = re.compile(re.escape(_MARK) + rb":([0-9a-f]{8})")
_JSON_END = 64
"""Bytes at the end of a JSON text that hold the checksum."""
_PARQUET_END = b"PAR1"

Bytes = bytes | mmap.mmap


def with_checksum(text: str) -> str:
    """`text`, a JSON object whose last value is `CHECKSUM_UNSET`, with its checksum.

    Half of a surrogate pair, which UTF-8 cannot store, becomes JSON's escape.
    """
    data = text.encode(errors="backslashreplace")
    start, end = _digits(data)
    return (data[:start] + _checksum(data, start, end) + data[end:]).decode()


def add_checksum(path: Path) -> None:
    """Set the checksum of the Parquet file at `path`, whose metadata holds `CHECKSUM_UNSET`."""
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        start, end = _digits(data)
        data[start:end] = _checksum(data, start, end)


def is_intact(data: Bytes) -> bool:
    """False if `data`, a whole file or line, differs from what was written; True if it has no checksum."""
    if _MARK not in _end(data):
        return True
    try:
        start, end = _digits(data)
    except ValueError:
        return False
    return data[start:end] == _checksum(data, start, end)


def check_file(path: Path, remedy: str = "delete it and run its step again") -> None:
    """Check the Parquet or JSON file at `path`; one process reads an unchanged file only once.

    Raises:
        DataError: it differs from what was written, and `remedy` says what to do; or the user must not read it.
        OSError: it cannot be read for another reason.
    """
    try:
        look = path.stat()
        is_whole = _is_intact_file(path, look.st_size, look.st_mtime_ns, look.st_ino)
    except PermissionError as error:  # it may be whole: nobody should delete it
        raise DataError(str(disk_problem(error))) from error
    if not is_whole:
        raise DataError(f"{path} is damaged or was edited (its checksum differs): {remedy}.")


@functools.lru_cache(maxsize=4096)
def _is_intact_file(path: Path, size: int, mtime_ns: int, inode: int) -> bool:
    if not size:  # An empty file cannot be mapped; its reader reports it.
        return True
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return is_intact(data)


def _digits(data: Bytes) -> tuple[int, int]:
    """Where the digits of the checksum are; ValueError if there are none."""
    end = _end(data)
    places = [found.span(1) for found in _SET.finditer(end)]
    if not places:
        raise ValueError("no checksum")
    first = len(data) - len(end)
    return first + places[-1][0], first + places[-1][1]


def _end(data: Bytes) -> bytes:
    """The end of a file that may hold its checksum: the footer of Parquet, the last bytes of JSON."""
    size = _JSON_END
    if data[-4:] == _PARQUET_END:
        size = int.from_bytes(data[-8:-4], "little") + 8
    return bytes(data[-min(size, len(data)) :])


def _checksum(data: Bytes, start: int, end: int) -> bytes:
    with memoryview(data) as view:
        return f"{zlib.crc32(view[end:], zlib.crc32(view[:start])):08x}".encode()
