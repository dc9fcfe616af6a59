"""Every returned frame is the wanted one, by the number in its picture, or the file is refused."""

import os
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from sg.video.frames import Frames, UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import AllFrames, MiddleOfSegments
from tests.video.zoo import NUM_FRAMES, VIDEOS, cut_by_copy, make_video, read_number

DECORD_REFUSES = {
    *("h264.ts", "mpeg2.ts", "mpeg1.mpg", "mpeg2.mpg", "h264.avi", "mpeg4.avi", "mjpeg.avi", "h264.flv", "wmv2.asf"),
    *("animation.gif", "av1.mp4", "narrow.mp4", "open_gop.mp4", "mpeg4.mp4", "hevc_open.mkv"),
}


def numbers(frames: Frames) -> list[int]:
    return [read_number(picture) for picture in frames.frames]


def zeroed(path: Path, copy: Path, start: float, share: float = 0.1) -> Path:
    data = bytearray(path.read_bytes())
    first, length = int(len(data) * start), int(len(data) * share)
    data[first : first + length] = bytes(len(data[first : first + length]))
    copy.write_bytes(data)
    return copy


def assert_right_or_refused(path: Path, backend: str, offset: Sequence[int] = (0,)) -> None:
    """`offset`: number of frames that may be missing at the start, where their number is unknown."""
    try:
        frames = read_frames(path, MiddleOfSegments(8), backend)
    except UnreadableVideoError as error:
        assert error.status
        return
    shifts = {number - index for number, index in zip(numbers(frames), frames.indices, strict=True)}
    assert len(shifts) == 1, (path.name, frames.indices, numbers(frames))
    assert shifts <= set(offset), (path.name, shifts)


@pytest.mark.parametrize("name", VIDEOS)
def test_pyav_returns_every_frame_of_every_file_in_any_order(videos: dict[str, Path], name: str) -> None:
    whole = read_frames(videos[name], AllFrames())
    some = [NUM_FRAMES - 1, 0, 31, 31, 7]

    assert numbers(whole) == list(range(NUM_FRAMES))
    assert numbers(read_frames(videos[name], some)) == some
    assert (whole.num_frames, whole.num_bad, whole.num_substituted) == (NUM_FRAMES, 0, 0)


@pytest.mark.parametrize("name", VIDEOS)
def test_decord_returns_the_right_frames_or_refuses_the_file(videos: dict[str, Path], name: str) -> None:
    if name in DECORD_REFUSES:
        with pytest.raises(UnreadableVideoError, match="decord") as caught:
            read_frames(videos[name], MiddleOfSegments(8), "decord")
        assert caught.value.status == "unsupported"
        return
    for wanted in (AllFrames(), MiddleOfSegments(8), [NUM_FRAMES - 1, 0, 31, 31, 7]):
        frames = read_frames(videos[name], wanted, "decord")
        assert numbers(frames) == list(frames.indices)


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_video_of_one_frame_has_one_frame(tmp_path: Path, backend: str) -> None:
    frames = read_frames(make_video(tmp_path / "one.mp4", 1), MiddleOfSegments(4), backend)
    assert (numbers(frames), frames.num_frames, frames.indices) == ([0] * 4, 1, (0,) * 4)


def test_a_file_cut_by_an_edit_list_begins_at_its_first_shown_frame(videos: dict[str, Path], tmp_path: Path) -> None:
    path = cut_by_copy(videos["b_frames.mp4"], tmp_path / "cut.mp4", start=17)

    frames = read_frames(path, AllFrames())

    assert numbers(frames) == list(range(17, NUM_FRAMES))
    assert numbers(read_frames(path, [20, 3])) == [37, 20]
    with pytest.raises(UnreadableVideoError, match="edit list"):
        read_frames(path, [0], "decord")


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_both_backends_rotate_pictures_as_shown(tmp_path: Path, degrees: int) -> None:
    import numpy as np

    upright = read_frames(make_video(tmp_path / "upright.mp4", 3), [2])
    path = make_video(tmp_path / "turned.mp4", 3, rotation=degrees)
    turned, by_decord = read_frames(path, [2]), read_frames(path, [2], "decord")

    assert turned.rotation == by_decord.rotation == degrees
    assert (turned.width, turned.height) == ((64, 96) if degrees != 180 else (96, 64))
    np.testing.assert_array_equal(turned.frames[0], np.rot90(upright.frames[0], degrees // 90))
    np.testing.assert_array_equal(turned.frames, by_decord.frames)


def mirrored(path: Path, rows: tuple[int, int, int, int]) -> Path:
    """Write the matrix (a, b, c, d) of the first track of an mp4."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in rows)
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("rows", "axes"),
    [((-1, 0, 0, 1), "left and right"), ((1, 0, 0, -1), "top and bottom"), ((0, 1, 1, 0), "rows and columns"),
     ((0, -1, -1, 0), "rows and columns, from the end")],
)  # fmt: skip
def test_a_mirrored_video_is_shown_mirrored(tmp_path: Path, rows: tuple[int, int, int, int], axes: str) -> None:
    """Selfie cameras store what they see and have the file say that it is mirrored."""
    import numpy as np

    stored = read_frames(make_video(tmp_path / "stored.mp4", 3), [2]).frames[0]
    path = mirrored(make_video(tmp_path / "mirrored.mp4", 3), rows)
    expected = {
        "left and right": stored[:, ::-1],
        "top and bottom": stored[::-1],
        "rows and columns": stored.transpose(1, 0, 2),
        "rows and columns, from the end": stored[::-1, ::-1].transpose(1, 0, 2),
    }
    frames = read_frames(path, [2])
    np.testing.assert_array_equal(frames.frames[0], expected[axes])
    assert (frames.height, frames.width) == expected[axes].shape[:2]
    with pytest.raises(UnreadableVideoError, match="mirrored"):
        read_frames(path, [2], "decord")


def test_a_variable_frame_rate_is_sampled_by_index_or_by_time(videos: dict[str, Path]) -> None:
    by_index = read_frames(videos["variable_rate.mp4"], MiddleOfSegments(8))
    by_time = read_frames(videos["variable_rate.mp4"], MiddleOfSegments(8, by_time=True))

    assert numbers(by_index) == list(by_index.indices)
    assert numbers(by_time) == list(by_time.indices)


@pytest.mark.parametrize("start", [0.15, 0.4, 0.72])
@pytest.mark.parametrize("name", VIDEOS)
def test_a_file_with_a_tenth_of_zeros_returns_right_frames_or_a_reason(
    videos: dict[str, Path], tmp_path: Path, name: str, start: float
) -> None:
    assert_right_or_refused(zeroed(videos[name], tmp_path / name, start), "pyav")
    if start == 0.4 and name not in DECORD_REFUSES:
        assert_right_or_refused(zeroed(videos[name], tmp_path / name, start), "decord")


@pytest.mark.parametrize("name", VIDEOS)
def test_a_file_without_its_end_returns_right_frames_or_a_reason(
    videos: dict[str, Path], tmp_path: Path, name: str
) -> None:
    data = videos[name].read_bytes()
    for share in (0.35, 0.5, 0.81):
        path = tmp_path / name
        path.write_bytes(data[: int(len(data) * share)])
        assert_right_or_refused(path, "pyav")
    if name not in DECORD_REFUSES:
        assert_right_or_refused(path, "decord")


@pytest.mark.parametrize("name", VIDEOS)
def test_a_file_without_its_start_returns_remaining_frames_in_order_or_a_reason(
    videos: dict[str, Path], tmp_path: Path, name: str
) -> None:
    data = videos[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(data[len(data) // 5 :])
    assert_right_or_refused(path, "pyav", offset=range(NUM_FRAMES))


def test_missing_frames_at_the_end_are_not_counted(videos: dict[str, Path], tmp_path: Path) -> None:
    for name in ("faststart.mp4", "h264.mkv", "h264.ts"):
        path = tmp_path / name
        path.write_bytes(videos[name].read_bytes()[: videos[name].stat().st_size // 2])
        frames = read_frames(path, AllFrames())
        assert 10 < frames.num_frames < NUM_FRAMES
        assert numbers(frames) == list(range(frames.num_frames))


def test_lost_frames_can_be_replaced_by_earlier_ones_and_are_counted(videos: dict[str, Path], tmp_path: Path) -> None:
    from sg.video.frames import ReaderLimits

    path = zeroed(videos["short_gop.mp4"], tmp_path / "damaged.mp4", 0.4)

    frames = read_frames(path, AllFrames(), limits=ReaderLimits(max_substituted=0.5))

    assert frames.num_bad > 0
    wrong = [index for index, number in zip(frames.indices, numbers(frames), strict=True) if index != number]
    assert 0 < len(wrong) == frames.num_substituted < NUM_FRAMES / 2
    assert all(0 <= number <= index for index, number in zip(frames.indices, numbers(frames), strict=True))


@pytest.mark.parametrize("num_bytes", [3, 30, 300])
def test_random_damage_never_raises_another_error(videos: dict[str, Path], tmp_path: Path, num_bytes: int) -> None:
    for name, path in videos.items():
        data = bytearray(path.read_bytes())
        chance = random.Random(f"{name} {num_bytes}")
        for _ in range(num_bytes):
            data[chance.randrange(len(data))] = chance.randrange(256)
        damaged = tmp_path / name
        damaged.write_bytes(data)
        for act in (probe, lambda file: read_frames(file, MiddleOfSegments(4))):
            try:
                act(damaged)
            except UnreadableVideoError as error:
                assert error.reason.startswith(name)


def test_encoding_av1_leaves_the_scheduling_of_the_process_as_it_was(tmp_path: Path) -> None:
    make_video(tmp_path / "av1.mp4", **VIDEOS["av1.mp4"])
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
