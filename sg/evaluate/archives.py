"""Unpacks videos and subtitles from zip archives: each file once and atomically, after a check of the disk space."""

import errno
import logging
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sg.core.errors import DataError
from sg.core.files import atomic_path, file_lock
from sg.core.fingerprints import fingerprint
from sg.core.progress import Progress

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
GB = 10**9
RESERVE_BYTES = GB
"""Space that must stay free on the disk."""
BOMB_BYTES, BOMB_RATIO = 10**8, 200
"""An entry that is larger, and by this factor larger than in the archive, is not unpacked."""
ENCRYPTED = 1
"""The bit of an entry's flags."""
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Unpacked files by name without suffix, and {name: reason} of files that cannot be unpacked.

    `incomplete` names archives whose list of files cannot be read, in a sentence: they may hold the missing files.
    """

    paths: Mapping[str, Path] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    incomplete: str = ""


@dataclass(frozen=True, slots=True)
class _ArchiveEntry:
    name: str
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    @property
    def file_name(self) -> str:
        return self.name + _entry_path(self.info).suffix


def unpack(
    folder: Path,
    archives: str,
    suffixes: Collection[str],
    target: Path,
    wanted: Collection[str],
    elsewhere: Path | None = None,
) -> Unpacked:
    """Unpack the files `wanted` (names without suffix) from the zip archives in `folder` into `target`.

    Each file is written atomically, so the next call resumes a killed one. A lock keeps other processes out. A file
    that no archive holds is missing from the result. One that cannot be unpacked (encrypted, damaged, of an unknown
    compression, or of an absurd size) has a reason there, and the others are unpacked.

    Args:
        archives: pattern of the archives' names.
        suffixes: suffixes of the entries that are unpacked, in lower case.
        elsewhere: the folder for the files if `target` cannot be written, such as on a read-only disk. Each archive has
            its own subfolder there, named by the archive's name, size and time.

    Raises:
        DataError: no folder can be written, or the disk is too small.
    """
    found = sorted(folder.glob(archives)) if wanted else []
    if not found:
        return Unpacked()
    with ExitStack() as stack:
        opened = [_opened(path) for path in found]
        archives_found = [stack.enter_context(one) for one in opened if isinstance(one, zipfile.ZipFile)]
        incomplete = "; ".join(one for one in opened if isinstance(one, str))
        if incomplete:
            log.warning("%s", incomplete)
        entries = list(_entries(archives_found, suffixes, wanted))
        if not entries:
            return Unpacked(incomplete=incomplete)
        try:
            paths = {entry.name: target / entry.file_name for entry in entries}
            return _unpacked(entries, target, paths, incomplete)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise _write_error(target, error) from error
            if elsewhere is None:
                raise DataError(
                    f"{target} cannot be written: unpack {archives} there, or use a copy of the folder."
                ) from error
        try:
            paths = {entry.name: elsewhere / _key(entry.archive) / entry.file_name for entry in entries}
            return _unpacked(entries, elsewhere, paths, incomplete)
        except OSError as error:
            raise _write_error(elsewhere, error) from error


def _write_error(target: Path, error: OSError) -> DataError:
    return DataError(f"The archives of the benchmark cannot be unpacked into {target} ({error.strerror or error}).")


def _key(archive: zipfile.ZipFile) -> str:
    path = Path(archive.filename or "")
    look = path.stat()
    return f"{path.stem}-{fingerprint([path.name, look.st_size, look.st_mtime_ns])}"


def _unpacked(entries: Sequence[_ArchiveEntry], target: Path, paths: Mapping[str, Path], incomplete: str) -> Unpacked:
    """Write the entries that are not at their `paths` yet, which lie below `target`."""
    missing = [entry for entry in entries if not _is_unpacked(entry, paths[entry.name])]
    problems: dict[str, str] = {}
    if missing:
        with file_lock(target / ".unpack.lock"):
            missing = [entry for entry in missing if not _is_unpacked(entry, paths[entry.name])]
            problems = _extract(missing, target, paths)
    return Unpacked({name: path for name, path in paths.items() if name not in problems}, problems, incomplete)


def _opened(path: Path) -> zipfile.ZipFile | str:
    """The archive, or a sentence if its list of files, which is at its end, cannot be read."""
    try:
        return zipfile.ZipFile(path)
    # A damaged list of entries raises ValueError, NotImplementedError or struct.error too.
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        return f"{path} is not a complete zip archive ({error}): download it again"


def _entry_path(info: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(info.filename.replace("\\", "/"))  # some programs on Windows write backslashes


def _entries(
    archives: Sequence[zipfile.ZipFile], suffixes: Collection[str], wanted: Collection[str]
) -> Iterator[_ArchiveEntry]:
    """The first entry of each wanted name. Only its last part becomes a name on disk, so no entry leaves its folder."""
    names = set(wanted)
    for archive in archives:
        for info in archive.infolist():
            entry = _entry_path(info)
            if entry.stem in names and entry.suffix.lower() in suffixes and not info.is_dir():
                names.remove(entry.stem)
                yield _ArchiveEntry(entry.stem, archive, info)


def _is_unpacked(entry: _ArchiveEntry, path: Path) -> bool:
    return path.is_file() and path.stat().st_size == entry.info.file_size


def _extract(entries: Sequence[_ArchiveEntry], target: Path, paths: Mapping[str, Path]) -> dict[str, str]:
    """Write the files; returns {name: reason} of those that cannot be unpacked."""
    # Left by a killed process: while the lock is held, no other process writes here.
    for leftover in target.glob("**/.*.tmp.*"):
        leftover.unlink()
    problems = {
        entry.name: f"{_text(entry)} expands to {entry.info.file_size:,} bytes"
        for entry in entries
        if _is_bomb(entry.info)
    }
    entries = [entry for entry in entries if entry.name not in problems]
    needed = sum(entry.info.file_size for entry in entries)
    free = shutil.disk_usage(target).free
    if needed + RESERVE_BYTES > free:
        raise DataError(
            f"Unpacking {len(entries)} files into {target} takes {needed / GB:.1f} GB, but the disk has "
            f"{free / GB:.1f} GB free: make room, or put benchmark.folder on another disk."
        )
    log.info("unpacking %d files (%.1f GB, %.1f GB free) into %s", len(entries), needed / GB, free / GB, target)
    with Progress("unpack", total=len(entries), unit="files") as bar:
        for entry in entries:
            problem = _problem_of(entry, paths[entry.name])
            if problem:
                problems[entry.name] = f"{_text(entry)} cannot be unpacked: {problem}"
                bar.fail()
            else:
                bar.advance()
    for text in problems.values():
        log.warning("unpack: %s", text)
    return problems


def _text(entry: _ArchiveEntry) -> str:
    return f"{entry.info.filename} in {entry.archive.filename}"


def _is_bomb(info: zipfile.ZipInfo) -> bool:
    """True for an entry that expands beyond what a video or subtitles do."""
    return info.file_size > BOMB_BYTES and info.file_size > BOMB_RATIO * info.compress_size


def _problem_of(entry: _ArchiveEntry, path: Path) -> str:
    """Write the file of an entry; return why it cannot be read, or ""; OSError if the file cannot be written."""
    if entry.info.flag_bits & ENCRYPTED:
        return "it is encrypted, so unpack it yourself"
    try:
        with (
            atomic_path(path, durable=False) as temporary,
            entry.archive.open(entry.info) as source,
            temporary.open("wb") as copy,
        ):
            shutil.copyfileobj(source, copy, CHUNK_BYTES)
    # zipfile raises NotImplementedError for an unknown compression, and RuntimeError for a missing module or password.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, struct.error) as error:
        return f"it is damaged or of an unknown compression ({error})"
    except OSError as error:
        # bz2 raises OSError without a number for damaged data.
        if error.errno is not None:
            raise
        return f"it is damaged ({error})"
    return ""
