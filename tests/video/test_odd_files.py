"""Files whose headers mislead: rates, counts, cover pictures, held frames; and clips cut out of them."""

from pathlib import Path

import pytest

from sg.caption.hosted.engine.proxies import make_proxy
from sg.core.errors import DataError
from sg.video.cutting import cut_clip
from sg.video.reader import probe, read_frames
from sg.video.sampling import AllFrames, ByClock, OneFps, Timeline
from tests.core.disks import largest_file
from tests.video.test_file_zoo import numbers
from tests.video.zoo import B_FRAMES, NUM_FRAMES, make_held, make_video, with_avi_count, with_still_first

CASES = Path(__file__).parent / "cases"


def slides(path: Path, codec: str = "libx264", fps: float = 25) -> Path:
    """12 pictures, one every 5 s."""
    return make_video(path, 12, codec=codec, fps=fps, stamps=[5000 * number for number in range(12)])


def test_a_slide_show_has_the_rate_of_its_pictures() -> None:
    info = probe(CASES / "slides.mkv")
    assert info.num_frames == 12
    assert info.fps == pytest.approx(0.2)
    assert info.duration_s == pytest.approx(55.04)
    assert read_frames(CASES / "slides.mkv", OneFps()).indices == tuple(range(12))


@pytest.mark.parametrize(
    ("name", "codec", "fps"),
    [("a.mkv", "libx264", 25), ("a.webm", "libvpx", 142), ("a.webm", "libvpx-vp9", 1000), ("a.mp4", "libx264", 60)],
)
def test_the_rate_is_measured_where_the_header_names_another(tmp_path: Path, name: str, codec: str, fps: float) -> None:
    path = slides(tmp_path / name, codec, fps)
    assert probe(path).fps == pytest.approx(0.2, rel=0.1)
    assert 55 <= probe(path).duration_s <= 60.1
    assert numbers(read_frames(path, OneFps())) == list(range(12))


@pytest.mark.parametrize(("name", "codec"), [("a.flv", "libx264"), ("a.ts", "libx264"), ("a.asf", "wmv2")])
def test_the_rate_of_files_that_are_counted_is_measured_too(tmp_path: Path, name: str, codec: str) -> None:
    path = slides(tmp_path / name, codec)
    assert probe(path).fps == pytest.approx(0.2)
    assert read_frames(path, OneFps()).indices == tuple(range(12))


@pytest.mark.parametrize("fps", [142, 1000, 5])
def test_a_recording_of_a_browser_has_the_rate_of_its_packets(tmp_path: Path, fps: float) -> None:
    stamps = [round(number * 1000 / 30) + (number % 3) * 4 for number in range(90)]
    path = make_video(tmp_path / "a.webm", 90, codec="libvpx", fps=fps, stamps=stamps)
    info = probe(path)
    assert (info.num_frames, info.fps) == (90, pytest.approx(30, rel=0.02))
    assert read_frames(path, OneFps()).indices == (0, 30, 60)


def test_the_declared_rate_is_kept_where_time_stamps_are_only_rounded(tmp_path: Path) -> None:
    for count in (1, 2, 3, 48):
        path = make_video(tmp_path / f"{count}.mkv", count, fps=24000 / 1001)
        assert probe(path).fps == pytest.approx(24000 / 1001, abs=1e-6)


def test_a_proxy_keeps_the_times_of_a_slide_show(tmp_path: Path) -> None:
    proxy = make_proxy(CASES / "slides.mkv", tmp_path, 60)
    assert isinstance(proxy, Path)
    info = probe(proxy)
    assert (info.num_frames, info.fps, info.duration_s) == (56, 1, 56)


def test_sampling_by_the_clock_holds_frames_and_skips_others() -> None:
    video = Timeline(4, 1.0, (0.0, 0.4, 0.9, 4.0))
    assert ByClock(64)(video) == [0, 2, 2, 2, 3]
    assert ByClock(2)(video) == [0, 3]
    assert ByClock(64)(Timeline(50, 25.0)) == [0, 25]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mjpeg"), ("a.mkv", "mjpeg"), ("a.mkv", "libvpx"), ("a.mp4", "libx264"), ("a.mov", "png")],
)
def test_a_picture_before_the_video_stream_is_not_the_video(
    videos: dict[str, Path], tmp_path: Path, name: str, codec: str
) -> None:
    path = with_still_first(videos["b_frames.mp4"], tmp_path / name, codec)
    assert numbers(read_frames(path, AllFrames())) == list(range(NUM_FRAMES))
    assert (probe(path).width, probe(path).codec) == (96, "h264")


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "libx264"])
def test_held_frames_of_an_avi_are_counted_and_shown(tmp_path: Path, codec: str) -> None:
    held = [1, 3, 1, 1, 5, 1, 2] * 4
    path = make_held(tmp_path / "a.avi", held, codec)
    shown = [number for number, times in enumerate(held) for _ in range(times)][: sum(held) - held[-1] + 1]

    frames = read_frames(path, AllFrames())

    assert numbers(frames) == shown
    assert (frames.num_frames, frames.fps, frames.num_bad) == (len(shown), 25, 0)
    assert numbers(read_frames(cut_clip(path, tmp_path / "cut.mp4", 400, 800), AllFrames())) == shown[10:20]


@pytest.mark.parametrize("count", [0, 40, 61, 70, 600])
@pytest.mark.parametrize("name", ["h264.avi", "mjpeg.avi"])
def test_an_avi_whose_header_names_another_number_is_counted(
    videos: dict[str, Path], tmp_path: Path, name: str, count: int
) -> None:
    path = with_avi_count(videos[name], tmp_path / name, count)
    assert numbers(read_frames(path, AllFrames())) == list(range(NUM_FRAMES))


@pytest.mark.parametrize(
    "name",
    [
        "h264.avi",
        "mpeg4.avi",
        "mjpeg.avi",
        "h264.ts",
        "h264.flv",
        "fragmented.mp4",
        "open_gop.mp4",
        "h264.mkv",
        "vp9.webm",
        "wmv2.asf",
        "mpeg2.mpg",
    ],
)
def test_a_clip_of_every_container_has_exactly_its_frames(videos: dict[str, Path], tmp_path: Path, name: str) -> None:
    cut = cut_clip(videos[name], tmp_path / "cut.mp4", 920, 1120)
    assert numbers(read_frames(cut, AllFrames())) == [23, 24, 25, 26, 27]


def test_a_fragmented_mp4_with_b_frames_is_cut_to_the_frame(tmp_path: Path) -> None:
    cut = read_frames(cut_clip(CASES / "frag_default.mp4", tmp_path / "cut.mp4", 920, 1120), AllFrames())
    whole = read_frames(CASES / "frag_default.mp4", [23, 24, 25, 26, 27])
    others = read_frames(CASES / "frag_default.mp4", [22, 23, 24, 25, 26])
    distance = abs(cut.frames.astype(int) - whole.frames).mean()
    assert cut.num_frames == 5
    assert distance < abs(cut.frames.astype(int) - others.frames).mean() / 2
    path = make_video(
        tmp_path / "a.mp4",
        100,
        options=B_FRAMES,
        mux_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    )
    assert numbers(read_frames(cut_clip(path, tmp_path / "cut2.mp4", 920, 1120), AllFrames())) == [23, 24, 25, 26, 27]


def test_h264_with_b_frames_in_an_avi_is_cut(tmp_path: Path) -> None:
    cut = cut_clip(CASES / "h264_bframes.avi", tmp_path / "cut" / "clip.mp4", 400, 1200)
    assert probe(cut).num_frames == 20
    assert [file.name for file in cut.parent.iterdir()] == ["clip.mp4"]


def test_a_full_disk_is_no_fault_of_the_video(tmp_path: Path) -> None:
    with largest_file(300), pytest.raises(DataError, match=r"because the disk is full \(.*File too large"):
        make_proxy(CASES / "slides.mkv", tmp_path, 60)
    assert list(tmp_path.iterdir()) == []
