"""Unpacks videos and subtitles from zip archives: each file once and atomically, after a check of the disk space."""

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
"""Space that must stay free on the disk."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Unpacked files by name without suffix, and {name: reason} of files that cannot be unpacked."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _ArchiveEntry:
    name: str
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    path: Path


def unpack(folder: Path, archives: str, suffixes: Sequence[str], target: Path, wanted: Collection[str]) -> Unpacked:
    """Unpack the files `wanted` (names without suffix) from the zip archives in `folder` into `target`.

    Each file is written atomically, so the next call resumes a killed one. A lock keeps other processes out. A file
    that no archive holds is missing from the result.

    Args:
        archives: pattern of the archives' names.
        suffixes: suffixes of the entries that are unpacked.

    Raises:
        DataError: an archive is damaged, the folder cannot be written, or the disk is too small.
    """
    found = sorted(folder.glob(archives)) if wanted else []
    if not found:
        return Unpacked()
    try:
        with file_lock(target / ".unpack.lock"), ExitStack() as stack:
            entries = list(_entries([stack.enter_context(_opened(path)) for path in found], suffixes, target, wanted))
            missing = [entry for entry in entries if not _is_unpacked(entry)]
            problems = _extract(missing, target) if missing else {}
    except PermissionError as error:
        raise DataError(f"{target} cannot be written: unpack {archives} there, or use a copy of the folder.") from error
    return Unpacked({entry.name: entry.path for entry in entries if entry.name not in problems}, problems)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a complete zip archive ({error}): download it again.") from error


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


def _is_unpacked(entry: _ArchiveEntry) -> bool:
    return entry.path.is_file() and entry.path.stat().st_size == entry.info.file_size


def _extract(entries: Sequence[_ArchiveEntry], target: Path) -> dict[str, str]:
    """Write the files; returns {name: reason} of those whose archive is damaged."""
    # Left by a killed process: while the lock is held, no other process writes here.
    for leftover in target.glob(".*.tmp.*"):
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
            # zipfile raises NotImplementedError for an unknown compression.
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                problems[entry.name] = f"{entry.info.filename} in {entry.archive.filename} is damaged ({error})"
                log.warning("unpack: %s", problems[entry.name])
                bar.fail()
    return problems


def _write(entry: _ArchiveEntry) -> None:
    with (
        atomic_path(entry.path, durable=False) as temporary,
        entry.archive.open(entry.info) as source,
        temporary.open("wb") as copy,
    ):
        shutil.copyfileobj(source, copy, CHUNK_BYTES)
