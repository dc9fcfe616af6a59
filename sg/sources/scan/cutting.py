"""Clips that only a whole film holds: cut from it in processes that can be killed, each once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.core.errors import SgError
from sg.core.progress import Progress
from sg.sources.scan.disk import VideoFile
from sg.sources.scan.findings import Findings
from sg.sources.scan.items import AnnotatedVideo, youtube_id

CUT_FOLDER = "cut"
NOT_CUT = "not_cut"


@dataclass(frozen=True, slots=True)
class CutJob:
    """A clip to make."""

    item: AnnotatedVideo
    film: Path
    target: Path


def long_videos_by_id(clips: Sequence[VideoFile]) -> dict[str, str]:
    """Path of each whole film that is named by its YouTube id."""
    return {clip.stem: clip.path for clip in reversed(clips) if clip.path and youtube_id(clip.stem)}


def cut_jobs(
    items: Sequence[AnnotatedVideo], films: Mapping[str, str], long_videos: Path, videos: Path
) -> list[CutJob]:
    """What to cut for the items whose film is there; the clip is called by its video id."""
    return [
        CutJob(
            item, long_videos / films[item.youtube_id], videos / CUT_FOLDER / item.youtube_id / f"{item.video_id}.mp4"
        )
        for item in items
        if item.range_ms and item.youtube_id in films
    ]


def cut_clips(jobs: Sequence[CutJob], workers: int, timeout_s: float, findings: Findings) -> int:
    """Cut every clip that is not there yet; gives how many were made. One that cannot be cut is a finding."""
    from sg.video.workers import WorkerPool

    made = 0
    num_workers = min(workers or os.cpu_count() or 1, len(jobs))
    with WorkerPool(_cut, num_workers, timeout_s) as pool, Progress("cutting", len(jobs), "clips") as bar:
        for job, outcome in pool.map(jobs):
            if isinstance(outcome, SgError):
                findings.add(NOT_CUT, job.item.video_id, job.film.name, str(outcome))
                bar.fail()
            else:
                made += 1
                bar.advance()
    return made


def _cut(job: CutJob) -> None:
    from sg.video.cutting import cut_clip

    assert job.item.range_ms is not None
    cut_clip(job.film, job.target, *job.item.range_ms)
