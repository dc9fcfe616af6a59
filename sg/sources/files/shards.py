"""Copies the video files out of video2dataset's tar files ("shards"), as `<shard>/<key>.mp4` with their `.json`.

All steps after the scan read plain files. A shard is read once, from start to end. A finished shard is skipped by later
scans; in an interrupted one, members that exist as files of the same size are skipped.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sg.core.errors import DataError, MissingInputError
from sg.core.files import atomic_path
from sg.core.progress import Progress
from sg.sources.files.disk import VIDEO_SUFFIXES
from sg.sources.files.tar_index import TarMember, tar_members
from sg.sources.scan.journal import ScanJournal

_SHARD_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_MAX_JSON = 2**24
_COPY_BYTES = 2**20


def unpack_shards(shards: Path, videos: Path, journal_path: Path) -> Counter[str]:
    """Copy the video files of every tar file below `shards` into `videos`; returns what was left out, by reason.

    Raises:
        MissingInputError: there are no tar files.
        DataError: the copies cannot be written.
    """
    files = sorted(path for path in shards.rglob("*.tar") if path.is_file())
    if not files:
        raise MissingInputError(f"There are no .tar files in {shards}: give the folder of the shards with data.shards.")
    problems: Counter[str] = Counter()
    with ScanJournal(journal_path) as journal, Progress("shards", len(files), "shards") as bar:
        for path in files:
            status = path.stat()
            key = f"{status.st_size}:{status.st_mtime_ns}:{path.relative_to(shards)}:{videos}"
            if key not in journal.entries:
                journal.add(key, _unpack(path, videos))
            problems.update(journal.entries[key])
            bar.advance()
    return problems


def _unpack(path: Path, videos: Path) -> Counter[str]:
    problems: Counter[str] = Counter()
    if not _SHARD_NAME.fullmatch(path.stem):
        problems["a shard whose name is not a plain file name"] += 1
        return problems
    try:
        with path.open("rb") as stream:
            for member in _wanted(path, problems):
                _copy(stream, member, videos / path.stem / member.name)
    except OSError as error:
        raise DataError(
            f"The video files of {path} cannot be copied to {videos} ({error.strerror or error}): fix that and repeat "
            "the command, which resumes where it stopped."
        ) from error
    return problems


def _wanted(path: Path, problems: Counter[str]) -> Iterator[TarMember]:
    """Yield the video files and their JSON files."""
    for member in tar_members(path, problems):
        suffix = Path(member.name).suffix.lower()
        if suffix in VIDEO_SUFFIXES and not member.size:
            problems["an empty file"] += 1
        elif suffix in VIDEO_SUFFIXES or (suffix == ".json" and member.size <= _MAX_JSON):
            yield member


def _copy(stream: BinaryIO, member: TarMember, target: Path) -> None:
    if target.is_file() and target.stat().st_size == member.size:
        return
    stream.seek(member.offset)
    with atomic_path(target, durable=False) as temporary, temporary.open("wb") as copy:
        left = member.size
        while left:
            block = stream.read(min(left, _COPY_BYTES))
            if not block:
                raise OSError("the shard became shorter while it was read")
            copy.write(block)
            left -= len(block)
