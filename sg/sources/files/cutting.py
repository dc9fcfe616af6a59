"""Cutting clips that exist only within a whole video, in killable processes."""

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.core.errors import SgError
from sg.core.progress import Progress
from sg.sources.files.disk import VideoFile
from sg.sources.scan.findings import Findings
from sg.sources.scan.items import AnnotatedVideo, youtube_id

CUT_FOLDER = "cut"
NOT_CUT = "not_cut"


@dataclass(frozen=True, slots=True)
class CutJob:
    """A clip to make."""

    item: AnnotatedVideo
    source: Path
    target: Path


def long_videos_by_id(files: Sequence[VideoFile]) -> dict[str, str]:
    """Path of each whole video whose file is named by its YouTube id."""
    return {file.stem: file.path for file in reversed(files) if file.path and youtube_id(file.stem)}


def cut_jobs(
    items: Sequence[AnnotatedVideo], long_by_id: Mapping[str, str], long_videos: Path, videos: Path
) -> list[CutJob]:
    """The clips to cut for items whose whole video exists; the file of a clip is named by its video id."""
    return [
        CutJob(
            item,
            long_videos / long_by_id[item.youtube_id],
            videos / CUT_FOLDER / item.youtube_id / f"{item.video_id}.mp4",
        )
        for item in items
        if item.range_ms and item.youtube_id in long_by_id
    ]


def cut_clips(jobs: Sequence[CutJob], workers: int, timeout_s: float, findings: Findings) -> int:
    """Cut the clips; returns how many were made. A clip that cannot be cut is recorded as a finding."""
    from sg.video.workers import WorkerPool

    made = 0
    num_workers = min(workers or os.cpu_count() or 1, len(jobs))
    with WorkerPool(_cut, num_workers, timeout_s) as pool, Progress("cutting", len(jobs), "clips") as bar:
        for job, outcome in pool.map(jobs):
            if isinstance(outcome, SgError):
                _remove_unfinished(job.target)
                findings.add(NOT_CUT, job.item.video_id, job.source.name, str(outcome))
                bar.fail()
            else:
                made += 1
                bar.advance()
    return made


def _remove_unfinished(target: Path) -> None:
    """Remove what a killed worker left (`sg.core.files.atomic_path`)."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.tmp{target.suffix}"):
        path.unlink(missing_ok=True)


def _cut(job: CutJob) -> None:
    from sg.video.cutting import cut_clip

    assert job.item.range_ms is not None
    cut_clip(job.source, job.target, *job.item.range_ms)
