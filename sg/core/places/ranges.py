"""Video files of an address or inside of a tar archive, read by ranges: they are not copied to this machine.

The functions take paths of all kinds: a path below a folder that stands for an address (`mirrored(copied=False)`), a
path of this machine, and the path of a member of an archive in one of these places. Such a path says where the bytes of
the member lie, so that who has the path needs no index: `00000.tar/1536+20480/clip.mp4` is 20,480 bytes from 1,536.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.core.places.mirror import mirror_of
from sg.core.places.store import Entry, Store

_FIRST, _LARGEST = 2**15, 2**20
"""Bytes of the first request at a new position, and of the largest one; each request that follows on doubles."""
_WHOLE = 2**26
"""Bytes of a file that are kept in memory: a smaller file whose content hash is asked is there for the decoder."""
_HASH_BLOCK = 2**24
_MEMBER = re.compile(r"(.*)/([0-9]{1,18})\+([0-9]{1,18})/[^/]+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Far:
    """A file that is read by ranges: its store and name. A member of an archive is `size` bytes from `start` of it."""

    store: Store
    name: str
    start: int = 0
    size: int | None = None

    @property
    def address(self) -> str:
        """The address, for people."""
        return f"{self.store.address}/{self.name}".rstrip("/")

    def entry(self) -> Entry | None:
        """Size and tag; None if there is no such file. A member of an archive that is cut off is shorter."""
        found = self.store.entry(self.name)
        if found is None or self.size is None:
            return found
        size = max(0, min(self.size, found.size - self.start))
        return Entry(size, f"{found.tag}:{self.start}+{self.size}", found.modified)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`."""
        return self.store.read(self.name, self.start + start, self.start + end)


def member_path(archive: str, start: int, size: int, name: str) -> str:
    """The path of `size` bytes from `start` of an archive, which are the file `name`."""
    return f"{archive}/{start}+{size}/{name}"


def is_member(path: str) -> bool:
    """Whether a path is that of a member of an archive."""
    return _MEMBER.fullmatch(path) is not None


def far(path: Path) -> Far | None:
    """The file of an address or archive that `path` stands for; None for a plain file of this machine."""
    member = _MEMBER.fullmatch(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links
    place = mirror_of(path if member is None else Path(member[1]))
    is_far = place is not None and place[0].is_read_only
    if member is not None:
        part = int(member[2]), int(member[3])
        if place is not None and is_far:
            return Far(place[0].store, place[1], *part)
        folder, _, name = member[1].rpartition("/")
        return Far(Store(f"file://{folder}"), name, *part)
    return Far(place[0].store, place[1]) if place is not None and is_far else None


def far_entry(path: Path) -> Entry:
    """Size and tag of the far file at `path`.

    Raises:
        FileNotFoundError: there is no such file, or it is not far.
    """
    place = far(path)
    entry = None if place is None else place.entry()
    if entry is None:
        raise FileNotFoundError(2, "there is no such file", str(path))
    return entry


def exists(path: Path) -> bool:
    """Whether there is a file at `path`."""
    place = far(path)
    return path.is_file() if place is None else place.entry() is not None


def size_of(path: Path) -> int:
    """Bytes of a file.

    Raises:
        OSError: it does not exist.
    """
    return path.stat().st_size if far(path) is None else far_entry(path).size


def opened(path: Path) -> io.BufferedReader:
    """The file at `path`, open for reading.

    Raises:
        OSError: it cannot be read.
    """
    file = range_file(path)
    return path.open("rb") if file is None else io.BufferedReader(file)


def range_file(path: Path) -> RangeFile | None:
    """The open far file at `path`, of which one call may read less than asked for; None for a file of this machine.

    Raises:
        FileNotFoundError: there is no such file.
    """
    place = far(path)
    return None if place is None else RangeFile(place, far_entry(path))


def listed(folder: Path) -> dict[str, Entry] | None:
    """The files below a far folder by their relative names; None for a folder of this machine."""
    place = far(folder)
    if place is None:
        return None
    prefix = f"{place.name}/" if place.name else ""
    return {name.removeprefix(prefix): entry for name, entry in place.store.list(place.name).items()}


def far_hash(path: Path) -> str:
    """16 hex digits over all bytes of a far file, as `file_hash` returns them for the same file here."""
    file = range_file(path)
    assert file is not None
    with file:
        if file.entry.size <= _WHOLE:
            file.expect([(0, file.entry.size)])
            return hashlib.blake2b(file.read(), digest_size=8).hexdigest()
        digest = hashlib.blake2b(digest_size=8)
        for start in range(0, file.entry.size, _HASH_BLOCK):
            digest.update(file.place.read(start, min(start + _HASH_BLOCK, file.entry.size)))
        return digest.hexdigest()


class _Blocks:
    """What was read of the last file of this process: a file is often opened several times in a row."""

    def __init__(self) -> None:
        self.key: tuple[object, ...] = ()
        self.blocks: dict[int, bytes] = {}

    def of(self, place: Far, entry: Entry) -> dict[int, bytes]:
        """{start: bytes} of this state of a file."""
        key = (os.getpid(), place, entry.tag)
        if key != self.key:
            self.key, self.blocks = key, {}
        return self.blocks


_last = _Blocks()


class RangeFile(io.RawIOBase):
    """A file of a store, read in requests of growing size; `num_read` counts the bytes that were transferred."""

    def __init__(self, place: Far, entry: Entry) -> None:
        super().__init__()
        self.place, self.entry, self.num_read = place, entry, 0
        self._position, self._next, self._step = 0, -1, _FIRST
        self._ranges: list[tuple[int, int]] = []
        self._blocks = _last.of(place, entry)

    def expect(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Name the parts [start, end) that are read next: no request goes beyond the end of such a part."""
        self._ranges = sorted(ranges)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.entry.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The current position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read at most as many bytes as `buffer` has, fewer at the end of a block."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.entry.size - self._position)
        if wanted <= 0:
            return 0
        data = self._at(self._position, wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _at(self, start: int, wanted: int) -> bytes:
        for first, block in self._blocks.items():
            if first <= start < first + len(block):
                return block[start - first : start - first + wanted]
        self._step = min(self._step * 2, _LARGEST) if start == self._next else _FIRST
        end = min(start + max(self._step, min(wanted, _LARGEST)), self.entry.size, *self._limits(start))
        block = self.place.read(start, end)
        if len(block) != end - start:
            raise DataError(
                f"{self.place.address} was replaced while it was read, or its server sends whole files when it is "
                "asked for parts."
            )
        self.num_read += len(block)
        self._blocks[start], self._next = block, end
        while sum(map(len, self._blocks.values())) > _WHOLE:
            del self._blocks[next(iter(self._blocks))]
        return block[:wanted]

    def _limits(self, start: int) -> Iterator[int]:
        """Where a request from `start` must end: at the end of an expected part, and before what is known already."""
        yield from (end for begin, end in self._ranges if begin <= start < end)
        yield from (first for first in self._blocks if first > start)
