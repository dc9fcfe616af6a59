"""Films out of zip archives: each file once, whole or not at all, with the disk it takes told beforehand."""

from __future__ import annotations

import logging
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sg.core.errors import DataError
from sg.core.files import atomic_path, file_lock
from sg.core.progress import Progress

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
GB = 10**9
RESERVE_BYTES = GB
"""Stays free on the disk."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Files that were taken from archives, by name without suffix, and why one could not be: {name: reason}."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _ArchiveEntry:
    name: str
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    path: Path


def unpack(folder: Path, archives: str, suffixes: Sequence[str], target: Path, wanted: Collection[str]) -> Unpacked:
    """Take the files called `wanted` (without their suffix) out of the zip archives in `folder` into `target`.

    A file appears whole or not at all, so a killed call goes on where it was; two processes do not unpack at once.
    A file that no archive holds is in neither answer.

    Args:
        archives: pattern of the archives' names; `suffixes`: endings of the entries that are taken.

    Raises:
        DataError: an archive is no zip file, the folder cannot be written, or the disk has no room for what is missing.
    """
    found = sorted(folder.glob(archives)) if wanted else []
    if not found:
        return Unpacked()
    try:
        with file_lock(target / ".unpack.lock"), ExitStack() as stack:
            entries = list(_entries([stack.enter_context(_opened(path)) for path in found], suffixes, target, wanted))
            missing = [entry for entry in entries if not _is_there(entry)]
            problems = _extract(missing, target) if missing else {}
    except PermissionError as error:
        raise DataError(f"{target} cannot be written: unpack {archives} there, or use a copy of the folder.") from error
    return Unpacked({entry.name: entry.path for entry in entries if entry.name not in problems}, problems)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is no whole zip archive ({error}): download it again.") from error


def _entries(
    archives: Sequence[zipfile.ZipFile], suffixes: Sequence[str], target: Path, wanted: Collection[str]
) -> Iterator[_ArchiveEntry]:
    names = set(wanted)
    for archive in archives:
        for info in archive.infolist():
            entry = PurePosixPath(info.filename)
            if entry.stem in names and entry.suffix in suffixes and not info.is_dir():
                names.remove(entry.stem)
                yield _ArchiveEntry(entry.stem, archive, info, target / entry.name)


def _is_there(entry: _ArchiveEntry) -> bool:
    return entry.path.is_file() and entry.path.stat().st_size == entry.info.file_size


def _extract(entries: Sequence[_ArchiveEntry], target: Path) -> dict[str, str]:
    """Write the files; {name: reason} of those whose archive is damaged."""
    for leftover in target.glob(".*.tmp.*"):  # of a killed process: nobody else writes here while the lock is held
        leftover.unlink()
    needed = sum(entry.info.file_size for entry in entries)
    free = shutil.disk_usage(target).free
    if needed + RESERVE_BYTES > free:
        raise DataError(
            f"Unpacking {len(entries)} files into {target} takes {needed / GB:.1f} GB, but the disk has "
            f"{free / GB:.1f} GB free: make room, or put benchmark.folder on another disk."
        )
    log.info("unpacking %d files (%.1f GB, %.1f GB free) into %s", len(entries), needed / GB, free / GB, target)
    problems = {}
    with Progress("unpack", total=len(entries), unit="files") as bar:
        for entry in entries:
            try:
                _write(entry)
                bar.advance()
            # The last is what zipfile raises for a compression that it does not know.
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                problems[entry.name] = f"{entry.info.filename} in {entry.archive.filename} is damaged ({error})"
                log.warning("unpack: %s", problems[entry.name])
                bar.fail()
    return problems


def _write(entry: _ArchiveEntry) -> None:
    with atomic_path(entry.path) as temporary, entry.archive.open(entry.info) as source, temporary.open("wb") as copy:
        shutil.copyfileobj(source, copy, CHUNK_BYTES)
