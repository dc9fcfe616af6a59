"""Content of files that users can replace: a hash over all bytes, computed once per file.

The user's cache folder stores the hash under the path, size, times and inode of the file. So a 14 GB checkpoint is read
once, and again only after it was replaced.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sg.core.errors import DataError
from sg.core.files import read_json, read_record, write_record
from sg.core.fingerprints import file_hash, fingerprint
from sg.core.places.ranges import far, far_entry, far_hash

_SETTLED_S = 3.0
"""The hash of a younger file is not stored: the file can be written again within one tick of the clock."""


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
    if (place := far(path)) is not None:
        entry = far_entry(path)
        kept = _cache_folder() / f"{fingerprint([place.store.address, place.name, entry.tag])}.json"
        content = str(read_record(kept).get("content") or far_hash(path))
        _keep(kept, content)
        return content
    if path.is_dir():
        return _content(path)
    look = path.stat()
    stamp = [look.st_size, look.st_mtime_ns, look.st_ctime_ns, look.st_ino, look.st_dev]
    kept = _cache_folder() / f"{fingerprint([str(path.resolve()), *stamp])}.json"
    try:
        return str(read_json(kept)["content"])
    except (OSError, DataError, KeyError, TypeError):
        content = file_hash(path)
    after = path.stat()
    if time.time() - after.st_mtime > _SETTLED_S and [after.st_size, after.st_mtime_ns] == stamp[:2]:
        _keep(kept, content)
    return content


def _content(path: Path) -> str:
    if far(path) is not None:
        return file_content(path)
    if path.is_dir():
        return fingerprint([[file.name, file_content(file)] for file in sorted(path.iterdir())])
    return file_hash(path)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sg" / "content"


def _keep(path: Path, content: str) -> None:
    try:
        write_record(path, {"content": content}, durable=False)
    except OSError:
        # If the cache folder cannot be written to, the file is read again next time.
        return
