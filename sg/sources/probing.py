"""Looking at many clips: which can be read, how long and large they are. Parallel, killable, resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sg.artefacts.manifest import OK
from sg.core.errors import SgError
from sg.core.progress import Progress

Outcome = tuple[str, str, dict[str, Any]]
"""Status, reason, and the columns of the manifest that a look at the film fills."""
_FIELDS = ("duration_s", "width", "height", "fps", "num_frames")


class ClipFile(Protocol):
    """What is known of a clip from its folder."""

    @property
    def name(self) -> str:
        """Its name for people."""

    @property
    def path(self) -> str:
        """Relative to the folder; empty when it must not be opened."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def mtime_ns(self) -> int:
        """When it was changed last."""


def probe_clips(
    videos: Path, clips: Sequence[ClipFile], journal: Path, workers: int, timeout_s: float
) -> list[Outcome]:
    """An outcome for each clip, in their order.

    Outcomes are appended to `journal` (JSON Lines) as they come, so that a scan that was cut off, or that comes back to
    a folder with some more clips, opens only those that are new or changed.
    """
    seen = _read_journal(journal)
    todo = [clip for clip in clips if clip.path and _key(clip) not in seen]
    if todo:
        from sg.video.workers import WorkerPool

        journal.parent.mkdir(parents=True, exist_ok=True)
        jobs = [(videos / clip.path) for clip in todo]
        num_workers = min(workers or os.cpu_count() or 1, len(todo))
        with (
            journal.open("a", encoding="utf-8") as stream,
            WorkerPool(_look, num_workers, timeout_s) as pool,
            Progress("clips", len(clips), "clips", done_before=len(clips) - len(todo)) as bar,
        ):
            for clip, (_, found) in zip(todo, pool.map(jobs), strict=True):
                outcome = _outcome(found)
                seen[_key(clip)] = outcome
                stream.write(json.dumps([_key(clip), *outcome]) + "\n")
                stream.flush()
                bar.advance() if outcome[0] == OK else bar.fail()
    unsafe: Outcome = ("unsafe_path", "its name or link leads out of the folder or cannot be stored", {})
    return [seen[_key(clip)] if clip.path else unsafe for clip in clips]


def _look(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from sg.video.reader import probe

    info = asdict(probe(path))
    return {name: info[name] for name in _FIELDS}


def _outcome(found: dict[str, Any] | SgError) -> Outcome:
    if isinstance(found, SgError):
        return getattr(found, "status", "unreadable"), str(found), {}
    return OK, "", found


def _key(clip: ClipFile) -> str:
    return f"{clip.size}:{clip.mtime_ns}:{clip.path}"


def _read_journal(path: Path) -> dict[str, Outcome]:
    seen: dict[str, Outcome] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                key, status, reason, values = json.loads(line)
            except ValueError:
                continue  # the line that a kill cut off
            seen[key] = (status, reason, values)
    return seen
