"""Opening many video files to see which can be read, and their durations and sizes. Parallel and resumable."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import OK
from sg.core.crew.workers import check_engine
from sg.core.errors import SgError
from sg.core.progress import Progress
from sg.sources.config import ScannedDataConfig
from sg.sources.files.disk import VideoFile
from sg.sources.scan.journal import ScanJournal

Outcome = tuple[str, str, dict[str, Any]]
"""Status, reason, and the columns of the manifest that are read from the file."""
PROBE_VERSION = 2
"""Raise it when `sg.video` reports other facts of the same file; a scan then opens all files again."""
_FILES_PER_CALL = 16
"""Files that a worker on Ray opens in one call."""
_FIELDS = ("duration_s", "width", "height", "fps", "num_frames")


def probe_files(
    videos: Path, files: Sequence[VideoFile], places: Iterable[int], journal: ScanJournal, config: ScannedDataConfig
) -> None:
    """Open the files at some places of `files` that the journal does not have; `config` says where and how.

    Every outcome is appended to the journal at once, so that a scan after an interrupted one, or of a folder with new
    files, opens only the files that are new or changed. `outcome_of` reads it.

    Raises:
        ConfigError: Ray is not installed.
    """
    check_engine("data.engine", config.engine)
    num_files, todo = 0, array("q")
    for place in places:
        num_files += 1
        file = files[place]
        if file.path and journal.get(_key(file)) is None:
            todo.append(place)
    if todo:
        _probe(videos, files, todo, num_files, journal, config)


def outcome_of(file: VideoFile, journal: ScanJournal) -> Outcome:
    """The outcome for a file that was opened."""
    if not file.path:
        return "unsafe_path", file.problem, {}
    status, reason, values = journal.get(_key(file))
    return status, reason, values


def _key(file: VideoFile) -> str:
    return f"{PROBE_VERSION}:{file.key}"


def _probe(
    videos: Path,
    files: Sequence[VideoFile],
    todo: Sequence[int],
    num_files: int,
    journal: ScanJournal,
    config: ScannedDataConfig,
) -> None:
    from sg.video.maps import VideoMap

    size = 1 if config.engine == "local" else _FILES_PER_CALL

    def batches() -> Iterator[list[VideoFile]]:
        for start in range(0, len(todo), size):
            yield [files[place] for place in todo[start : start + size]]

    work = VideoMap(partial(_probe_file, videos), _outcomes, config.workers, config.timeout_s)
    found = work.over(([file.path for file in batch] for batch in batches()), config.engine)
    with Progress("files", num_files, "files", done_before=num_files - len(todo)) as bar:
        for batch, outcomes in zip(batches(), found, strict=True):
            for file, outcome in zip(batch, outcomes, strict=True):
                journal.add(_key(file), outcome)
                bar.advance() if outcome[0] == OK else bar.fail()


def _probe_file(videos: Path, name: str) -> dict[str, Any]:
    from dataclasses import asdict

    from sg.video.reader import probe

    info = asdict(probe(videos / name))
    return {name: info[name] for name in _FIELDS}


def _outcomes() -> Callable[[list[tuple[str, dict[str, Any] | SgError]]], list[Outcome]]:
    return lambda found: [_outcome(one) for _, one in found]


def _outcome(found: dict[str, Any] | SgError) -> Outcome:
    if isinstance(found, SgError):
        return getattr(found, "status", "unreadable"), str(found), {}
    return OK, "", found
