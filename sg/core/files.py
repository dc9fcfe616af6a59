"""Atomic and durable writing of files and folders, and locks between processes.

A name appears after its content is on the disk, so neither a killed process nor a power cut leaves half a file under
it. In the mirror of an address (`sg.core.places`), the file is then copied to the address, and a lock also holds
between machines.
"""

import contextlib
import fcntl
import json
import logging
import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sg.core.checksums import CHECKSUM_KEY, CHECKSUM_UNSET, is_intact, with_checksum
from sg.core.errors import DataError
from sg.core.places.lease import leased
from sg.core.places.mirror import Mirror, fetch, mirror_of, push

log = logging.getLogger(__name__)

_LONGEST_NAME = 255
"""Bytes that file systems allow for a file name."""
_OWNER_ONLY = 0o600


def _beside(path: Path) -> Path:
    """A name that no other process chooses, also if it runs in a container with the same process id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = f".{socket.gethostname()[:16]}-{os.getpid()}-{secrets.token_hex(4)}.tmp{path.suffix}"
    room = _LONGEST_NAME - 1 - len(mark.encode())
    return path.with_name(f".{path.name.encode()[:room].decode(errors='ignore')}{mark}")


@contextlib.contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`: renamed to `path` when the block succeeds, removed when it fails.

    `durable=False` leaves it to the system when the file reaches the disk. It is for many small files that are cheap to
    make again: flushing takes milliseconds per file.
    """
    temporary = _beside(path)
    try:
        yield temporary
        finish_file(temporary, durable)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
            push(path)  # many small files are copied together, when their lock is released or the command ends
    except OSError as error:
        if error.filename is None:  # The system names no file when a disk is full. PyAV's errors cannot be changed.
            with contextlib.suppress(AttributeError):
                error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`: it replaces `path` when the block succeeds, and is removed when it fails."""
    temporary, old = _beside(path), _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for place, _, names in os.walk(temporary):
            for name in names:
                finish_file(Path(place, name))
            _flush(Path(place))
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        _flush(path.parent)
        push(path, remove=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def finish_file(path: Path, durable: bool = True) -> None:
    """Give a new file the permissions that the user's umask allows, and flush it to the disk.

    Some libraries, such as safetensors, write files that only their owner may read.
    """
    if path.stat().st_mode & 0o777 == _OWNER_ONLY:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        umask = next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:"))
        path.chmod(0o666 & ~int(umask, 8))
    if durable:
        _flush(path)


def _flush(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write `text` as UTF-8 to `path`, atomically; for `durable` see `atomic_path`."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, atomically; ValueError if `value` holds NaN or infinity."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # UTF-8 cannot store half of a surrogate pair; JSON can, as an escape.
    write_text(path, text.encode(errors="backslashreplace").decode())


def write_record(path: Path, record: Mapping[str, Any], durable: bool = True) -> None:
    """Write the JSON object `record` to `path` like `write_json`, with a checksum that `read_json` checks.

    Raises:
        ValueError: `record` holds NaN or infinity.
    """
    text = json.dumps({**record, CHECKSUM_KEY: CHECKSUM_UNSET}, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, with_checksum(text + "\n"), durable)


def read_json(path: Path) -> Any:
    """The JSON value in `path`, without the checksum of a record.

    Raises:
        DataError: the file is not JSON, or it differs from the record that was written.
    """
    data = path.read_bytes()
    try:
        value = json.loads(data.decode("utf-8-sig"))
    # Bytes that are not UTF-8 and integers of thousands of digits raise other kinds of ValueError.
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} should hold JSON, but does not ({error}); delete it and run its step again."
        ) from error
    if not is_intact(data):
        raise DataError(
            f"{path} is damaged or was edited (its checksum differs): delete it and run its step again, or delete its "
            f"key {CHECKSUM_KEY!r} if the change is right."
        )
    if isinstance(value, dict):
        value.pop(CHECKSUM_KEY, None)
    return value


def read_record(path: Path) -> dict[str, Any]:
    """The record at `path`, for a caller that makes it again if this returns {}: it is missing or damaged."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except DataError as error:
        log.warning("%s", error)
        return {}
    return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def file_lock(path: Path, guards: Path | None = None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` in the block; other processes wait.

    The operating system releases the lock when its holder dies. In the mirror of an address, other machines wait too,
    the block finds what they wrote to the guarded files, and they find what the block wrote.

    Args:
        guards: the folder whose files the lock protects. By default `NAME.lock` protects `NAME.*` and the folder
            `NAME`, and a name with a dot in front, such as `.lock`, protects its folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            place = mirror_of(path)
            with contextlib.nullcontext() if place is None else _shared_lock(path, guards, *place):
                yield
        finally:
            fcntl.flock(stream, fcntl.LOCK_UN)


@contextlib.contextmanager
def _shared_lock(path: Path, guards: Path | None, mirror: Mirror, name: str) -> Iterator[None]:
    """Hold the lock `name` of an address, and bring the guarded files of both sides in step before and after."""
    stem = path.name.removesuffix(".lock") if guards is None and not path.name.startswith(".") else ""
    folder = guards or path.parent
    with leased(mirror, name):
        fetch(folder, stem=stem)
        try:
            yield
        finally:
            push(folder, stem, remove=True)
