"""Content of files that users can replace: a hash over all bytes, or an index, computed once per file.

The user's cache folder stores it under the path, size, times and inode of the file. So a 14 GB checkpoint is read
once, and again only after it was replaced.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.core.files import read_record, write_record
from sg.core.fingerprints import file_hash, fingerprint
from sg.core.places.ranges import far, far_entry, far_hash

_SETTLED_S = 3.0
"""What is computed of a younger file is not stored: the file can be written again within one tick of the clock."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was read: `content` is a hash over all bytes; an equal `stamp` means that it is still the same."""

    stamp: str
    content: str


def file_stamp(path: Path) -> str | None:
    """Size, times and inode of the file at `path`, or None when it is not there; for a folder, of all files in it.

    Tools that copy can set the time of the last change (mtime), but not that of the inode's (ctime).
    """
    try:
        if far(path) is not None:
            return far_entry(path).tag
        if path.is_dir():
            return fingerprint([[file.name, file_stamp(file)] for file in sorted(path.iterdir())])
        look = path.stat()
    except OSError:
        return None
    return f"{look.st_size}:{look.st_mtime_ns}:{look.st_ctime_ns}:{look.st_ino}"


def file_state(path: Path) -> FileState | None:
    """Stamp and content of the file at `path`, or None when it cannot be read. Reads the file; keeps no cache."""
    stamp = file_stamp(path)
    try:
        return None if stamp is None else FileState(stamp, _content(path))
    except OSError:
        return None


def file_content(path: Path) -> str:
    """16 hex digits over all bytes of the file at `path`; for a folder, over the names and bytes of all files in it.

    Raises:
        OSError: it cannot be read.
    """
    place = far(path)
    if place is None and path.is_dir():
        return _content(path)
    return str(kept("content", path, lambda: file_hash(path) if place is None else far_hash(path)))


def kept(kind: str, path: Path, compute: Callable[[], Any]) -> Any:
    """What `compute` returns of the file at `path`, as JSON: computed once for a state of the file.

    Raises:
        OSError: the file cannot be read.
    """
    place, stamp = far(path), file_stamp(path)
    name = str(path.resolve()) if place is None else place.address
    file = _cache_folder() / f"{fingerprint([kind, name, stamp])}.json"
    value = _cached(file).get(kind)
    if value is None:
        value = compute()
        is_settled = place is not None or time.time() - path.stat().st_mtime > _SETTLED_S
        if is_settled and (place is not None or file_stamp(path) == stamp):
            _keep(file, {kind: value})
    return value


def _content(path: Path) -> str:
    if far(path) is not None:
        return file_content(path)
    if path.is_dir():
        return fingerprint([[file.name, file_content(file)] for file in sorted(path.iterdir())])
    return file_hash(path)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sg" / "content"


def _cached(path: Path) -> dict[str, Any]:
    try:
        return read_record(path)
    except OSError:  # such as the cache of another user: the file is read instead
        return {}


def _keep(path: Path, record: dict[str, Any]) -> None:
    try:
        write_record(path, record, durable=False)
    except OSError:
        # If the cache folder cannot be written to, the file is read again next time.
        return
