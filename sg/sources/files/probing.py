"""Opening many video files to see which can be read, and their durations and sizes. Parallel and resumable."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import OK
from sg.core.errors import SgError
from sg.core.progress import Progress
from sg.sources.files.disk import VideoFile
from sg.sources.scan.journal import ScanJournal

Outcome = tuple[str, str, dict[str, Any]]
"""Status, reason, and the columns of the manifest that are read from the file."""
PROBE_VERSION = 2
"""Raise it when `sg.video` reports other facts of the same file; a scan then opens all files again."""
_FIELDS = ("duration_s", "width", "height", "fps", "num_frames")


def probe_files(
    videos: Path, files: Sequence[VideoFile], journal_path: Path, workers: int, timeout_s: float
) -> list[Outcome]:
    """The outcome for each file, in their order.

    Every outcome is appended to the journal at once, so that a scan after an interrupted one, or of a folder with new
    files, opens only the files that are new or changed.
    """
    with ScanJournal(journal_path) as journal:
        todo = [file for file in files if file.path and _key(file) not in journal.entries]
        if todo:
            _probe(videos, todo, len(files), journal, workers, timeout_s)
    return [tuple(journal.entries[_key(file)]) if file.path else ("unsafe_path", file.problem, {}) for file in files]


def _key(file: VideoFile) -> str:
    return f"{PROBE_VERSION}:{file.key}"


def _probe(
    videos: Path, todo: Sequence[VideoFile], num_files: int, journal: ScanJournal, workers: int, timeout_s: float
) -> None:
    from sg.video.workers import WorkerPool

    jobs = [videos / file.path for file in todo]
    num_workers = min(workers or os.cpu_count() or 1, len(todo))
    with (
        WorkerPool(_probe_file, num_workers, timeout_s) as pool,
        Progress("files", num_files, "files", done_before=num_files - len(todo)) as bar,
    ):
        for file, (_, found) in zip(todo, pool.map(jobs), strict=True):
            outcome = _outcome(found)
            journal.add(_key(file), outcome)
            bar.advance() if outcome[0] == OK else bar.fail()


def _probe_file(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from sg.video.reader import probe

    info = asdict(probe(path))
    return {name: info[name] for name in _FIELDS}


def _outcome(found: dict[str, Any] | SgError) -> Outcome:
    if isinstance(found, SgError):
        return getattr(found, "status", "unreadable"), str(found), {}
    return OK, "", found
