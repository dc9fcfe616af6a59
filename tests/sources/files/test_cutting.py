"""A long video that cannot be cut is a finding, and unfinished clips are neither kept nor listed."""

import shutil
from pathlib import Path

import pytest

from sg.core.errors import SgError
from sg.sources.files import cutting
from sg.sources.files.cutting import NOT_CUT, CutJob, cut_clips
from sg.sources.files.disk import list_files
from sg.sources.scan.findings import Findings
from sg.sources.scan.items import AnnotatedVideo
from sg.video.frames import TIMEOUT, UnreadableVideoError
from sg.video.reader import probe

H264_IN_AVI = Path(__file__).parents[2] / "video" / "cases" / "h264_bframes.avi"


def job(source: Path, folder: Path, start_ms: int, end_ms: int) -> CutJob:
    item = AnnotatedVideo(video_id=f"v{start_ms}", keys=(), range_ms=(start_ms, end_ms))
    return CutJob(item, source, folder / f"{item.video_id}.mp4")


def test_clips_of_an_avi_are_cut_and_a_range_without_frames_is_a_finding(tmp_path: Path) -> None:
    source = Path(shutil.copy(H264_IN_AVI, tmp_path))
    jobs = [job(source, tmp_path / "cut", *span) for span in ((400, 1200), (9000, 9500))]
    with Findings(tmp_path / "findings.parquet") as findings:
        assert cut_clips(jobs, 1, 60, findings) == 1
    assert findings.counts == {NOT_CUT: 1}
    assert [file.name for file in (tmp_path / "cut").iterdir()] == ["v400.mp4"]
    assert probe(jobs[0].target).num_frames == 20


class Killed:
    """A pool whose workers are killed in the middle of every clip."""

    def __init__(self, *settings: object) -> None: ...

    def __enter__(self) -> "Killed":
        return self

    def __exit__(self, *error: object) -> None: ...

    def map(self, jobs: list[CutJob]) -> "list[tuple[CutJob, SgError]]":
        for one in jobs:
            one.target.parent.mkdir(exist_ok=True)
            one.target.with_name(f".{one.target.name}.1.tmp.mp4").write_bytes(b"half")
        return [(one, UnreadableVideoError(TIMEOUT, "took too long")) for one in jobs]


def test_a_killed_cut_leaves_no_file_that_counts_as_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg.video.workers.WorkerPool", Killed)
    jobs = [job(H264_IN_AVI, tmp_path / "cut", 0, 100)]
    with Findings(tmp_path / "findings.parquet") as findings:
        assert cutting.cut_clips(jobs, 1, 60, findings) == 0
    assert list((tmp_path / "cut").iterdir()) == []
    (tmp_path / "cut" / ".v0.mp4.17.tmp.mp4").write_bytes(b"half")  # of a scan that was killed itself
    assert not list_files(tmp_path).files
