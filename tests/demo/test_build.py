"""The demo world on disk: complete, resumable after a kill, cached, and readable by the steps that use it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sg.artefacts.dialogs import read_dialogs
from sg.artefacts.manifest import read_manifest
from sg.core.errors import ConfigError
from sg.demo.build import build_demo_world, world_identity
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import make_world
from sg.demo.world import VideoSpec
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig

TINY = DemoWorldConfig(videos_per_k=1, align_clips=3, instruct_clips=4, benchmark_videos=2, workers=1)
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    build_demo_world(TINY, path)
    return path


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_every_video_of_the_manifest_exists_and_its_row_holds_its_caption(folder: Path) -> None:
    records = list(read_manifest(folder / "manifest.parquet").records())
    world = make_world(TINY)
    assert [record.video_id for record in records] == [video.video_id for video in world.corpus]
    assert all((folder / "videos" / record.path).is_file() for record in records)
    assert [VideoSpec.from_json(record.extra) for record in records] == [video.spec for video in world.corpus]


def test_dialogs_name_existing_videos(folder: Path) -> None:
    dialogs = [*read_dialogs(folder / "align.json"), *read_dialogs(folder / "instruct.json")]
    assert len(dialogs) == 7
    assert all((folder / "videos" / str(dialog.media)).is_file() for dialog in dialogs)


def test_the_benchmark_is_read_as_video_mme(folder: Path) -> None:
    benchmark = read_benchmark(VideoMmeConfig(name="demo", folder=str(folder / "benchmark")))
    assert [video.duration for video in benchmark.videos] == ["short"] * 2 + ["medium"] * 2 + ["long"] * 2
    assert benchmark.num_questions == 18
    assert all(video.path is not None for video in benchmark.videos)
    with_subtitles = [bool(item.cues) for item in make_world(TINY).benchmark]
    assert [video.subtitle_path is not None for video in benchmark.videos] == with_subtitles


def test_the_official_rule_matches_each_subtitle_with_one_frame(folder: Path) -> None:
    from sg.evaluate.subtitles import lines_at_frames, read_srt

    items = [item for item in make_world(TINY).benchmark if item.cues]
    for item in items:
        cues = read_srt(folder / "benchmark" / "subtitle" / f"{item.video.video_id}.srt")
        frames = range(8 * len(item.video.spec.scenes))
        assert lines_at_frames(cues, frames, 1.0) == [cue.text for cue in item.cues]


def test_a_complete_world_is_kept(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".lock"}
    build_demo_world(TINY, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".lock"} == before


def test_a_table_that_is_gone_is_written_again(folder: Path) -> None:
    for name in ("manifest.parquet", "instruct.json"):
        before = (folder / name).read_bytes()
        (folder / name).unlink()
        build_demo_world(TINY, folder)
        assert (folder / name).read_bytes() == before


def test_a_folder_with_another_world_is_refused(folder: Path) -> None:
    other = DemoWorldConfig(world_seed=5, videos_per_k=1, align_clips=3, instruct_clips=4, benchmark_videos=2)
    with pytest.raises(ConfigError, match="other settings"):
        build_demo_world(other, folder)


def test_the_number_of_processes_is_not_part_of_the_identity() -> None:
    settings = {"videos_per_k": 1, "align_clips": 3, "instruct_clips": 4, "benchmark_videos": 2}
    assert world_identity(DemoWorldConfig(**settings, workers=2)).name == world_identity(TINY).name


def test_a_killed_build_resumes_to_the_same_files(folder: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from sg.demo.build import build_demo_world; "
        "from sg.demo.config import DemoWorldConfig; build_demo_world(DemoWorldConfig(videos_per_k=1, align_clips=3, "
        f"instruct_clips=4, benchmark_videos=2, workers=1), Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("videos/*.mp4"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "manifest.parquet").exists()
    build_demo_world(TINY, tmp_path)
    assert _files(tmp_path) == _files(folder)


@pytest.mark.parametrize("setting", [{"videos_per_k": 0}, {"world_seed": -1}, {"turns_per_dialog": 9}])
def test_a_setting_out_of_range_is_one_sentence(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        DemoWorldConfig(**setting)
