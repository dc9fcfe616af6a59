"""Files that are not videos are refused with the class of the problem, and hostile names are harmless."""

import gc
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from sg.core.errors import ConfigError, DataError
from sg.video.frames import ReaderLimits, UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import AllFrames, MiddleOfSegments
from sg.video.writer import write_video
from tests.video.zoo import make_sound, make_video, read_number


def status(path: Path, backend: str = "auto") -> str:
    with pytest.raises(UnreadableVideoError) as caught:
        read_frames(path, [0], backend)
    assert path.name in caught.value.reason
    return caught.value.status


@pytest.mark.parametrize("backend", ["auto", "pyav", "decord"])
def test_files_that_are_not_videos_are_refused_with_their_class(tmp_path: Path, backend: str) -> None:
    contents = {
        "html.mp4": b"<!doctype html><title>404</title>",
        "text.mp4": b"not a video at all\n" * 100,
        "random.mp4": np.random.default_rng(0).bytes(5000),
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
        "concat.mp4": b"ffconcat version 1.0\nfile other.mp4\n",
        "picture.mp4": bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(50),
    }
    make_video(tmp_path / "other.mp4", 3)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert status(tmp_path / name, backend) == "unreadable", name
    (tmp_path / "empty.mp4").touch()
    assert status(tmp_path / "empty.mp4", backend) == "empty"
    assert status(tmp_path / "none.mp4", backend) == "missing"
    assert status(tmp_path, backend) == "empty"  # a folder without a picture
    assert status(make_sound(tmp_path / "sound.mp4"), backend) == "no_video"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes((tmp_path / "other.mp4").read_bytes()[:-500])
    assert status(broken, backend) == "truncated"


def test_probe_returns_the_facts_of_a_file(tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / "video.mkv", 50, fps=12.5, width=80, height=48))

    assert (info.num_frames, info.fps, info.width, info.height) == (50, 12.5, 80, 48)
    assert info.duration_s == pytest.approx(4.0, abs=0.02)
    assert (info.codec, info.container, info.rotation) == ("h264", "matroska,webm", 0)


def test_names_like_options_or_protocols_are_plain_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = make_video(tmp_path / "video.mp4", 3)
    monkeypatch.chdir(tmp_path)
    for name in ("-i.mp4", "concat:a|b.mp4", "file:x.mp4", "%03d.mp4", "a b é.mp4", "http:..mp4"):
        shutil.copy(video, name)
        for backend in ("pyav", "decord"):
            assert read_frames(Path(name), [2], backend).num_frames == 3, name


def test_an_index_outside_of_the_video_is_refused(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", 5)
    for backend in ("pyav", "decord"):
        with pytest.raises(DataError, match=r"frames 4\.\.5 were requested, but the video has frames 0\.\.4"):
            read_frames(video, [4, 5], backend)
        with pytest.raises(DataError, match="frames none were requested"):
            read_frames(video, [], backend)


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose one of auto, pyav, decord, torchcodec"):
        read_frames(tmp_path / "video.mp4", [0], "opencv")


def test_pictures_and_results_beyond_the_limits_are_refused(tmp_path: Path) -> None:
    video = make_video(tmp_path / "video.mp4", 5)
    with pytest.raises(UnreadableVideoError, match="more than 100 pixels") as caught:
        read_frames(video, [0], limits=ReaderLimits(max_pixels=100))
    assert caught.value.status == "too_large"
    with pytest.raises(UnreadableVideoError, match="the wanted frames of 96x64 are more than 30000 bytes"):
        read_frames(video, [0, 1, 2, 3, 4], limits=ReaderLimits(max_output_bytes=30_000))
    with pytest.raises(ConfigError, match="is not a fraction"):
        ReaderLimits(max_substituted=2)


def test_an_unreadable_file_keeps_its_class_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreadableVideoError("corrupt", "x.mp4: broken")))
    assert (error.status, error.reason, str(error)) == ("corrupt", "x.mp4: broken", "x.mp4: broken")


def test_a_file_that_changes_its_size_keeps_that_of_the_first_frame(tmp_path: Path) -> None:
    large, small = (make_video(tmp_path / f"{width}.h264", 10, width=width, height=48) for width in (96, 48))
    path = tmp_path / "both.h264"
    path.write_bytes(large.read_bytes() + small.read_bytes())

    frames = read_frames(path, AllFrames())

    assert frames.frames.shape == (20, 48, 96, 3)
    assert [read_number(picture) for picture in frames.frames] == [*range(10), *range(10)]


def test_reading_many_files_leaks_no_memory(tmp_path: Path) -> None:
    import psutil

    video = write_video(tmp_path / "video.mp4", np.zeros((8, 240, 320, 3), np.uint8), fps=8)
    process = psutil.Process()
    gc.disable()  # pictures must not wait for the collector either
    try:
        for round_ in range(150):
            read_frames(video, MiddleOfSegments(8))
            if round_ == 30:
                before = process.memory_info().rss
    finally:
        gc.enable()
    assert process.memory_info().rss - before < 20 * 2**20  # one leaked video per round would be 220 MB
