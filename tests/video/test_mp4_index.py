"""Ordinary mp4 files are read by their index; where the index is misleading, the packets are listed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from sg.video import pyav_reader
from sg.video.frames import ReaderLimits
from sg.video.mp4_index import Grid, presumed_header
from sg.video.open_video import open_video_file
from sg.video.pyav_reader import read
from sg.video.reader import read_frames
from sg.video.sampling import AllFrames, MiddleOfSegments
from tests.video.test_file_zoo import numbers
from tests.video.zoo import NUM_FRAMES, VIDEOS

LIMITS = ReaderLimits()
ORDINARY = ("short_gop.mp4", "long_gop.mp4", "b_frames.mp4", "faststart.mp4", "sound.mp4", "odd_size.mp4", "hevc.mp4")


def remuxed(source: Path, path: Path, change: Callable[[list[Any]], list[Any]]) -> Path:
    """The video with other packets, or packets of other times."""
    with av.open(str(source)) as video, av.open(str(path), "w") as output:
        stream = video.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in change([packet for packet in video.demux(stream) if packet.size]):
            packet.stream = copy
            output.mux(packet)
    return path


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_file_is_read_without_listing_its_packets(
    videos: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [MiddleOfSegments(8), AllFrames(), lambda _: [NUM_FRAMES - 1, 0, 31, 31, 7]]
    by_packets = [pyav_reader._by_packets(videos[name], choose, LIMITS) for choose in wanted]
    monkeypatch.setattr(pyav_reader, "read_header", None)
    for choose, other in zip(wanted, by_packets, strict=True):
        frames = read(videos[name], choose, LIMITS)
        assert numbers(frames) == list(frames.indices) == list(other.indices)
        assert (frames.frames == other.frames).all()
        about = [(one.num_frames, one.fps, one.duration_s, one.codec, one.rotation) for one in (frames, other)]
        assert about[0] == about[1]


@pytest.mark.parametrize("name", sorted(set(VIDEOS) - set(ORDINARY)))
def test_no_other_file_is_read_wrongly_by_its_index(videos: dict[str, Path], name: str) -> None:
    for wanted in (MiddleOfSegments(8), AllFrames(), lambda _: [NUM_FRAMES - 1]):
        frames = pyav_reader._by_index(videos[name], wanted, LIMITS)
        assert frames is None or numbers(frames) == list(frames.indices)


@pytest.mark.parametrize("gone", [2, 17, 31, 58])
@pytest.mark.parametrize("name", ["long_gop.mp4", "short_gop.mp4"])
def test_a_file_with_a_gap_in_time_is_not_read_as_one_of_constant_rate(
    videos: dict[str, Path], tmp_path: Path, name: str, gone: int
) -> None:
    def without_one(packets: list[Any]) -> list[Any]:
        """The decoding times stay regular; only the presentation times show the gap."""
        times = [packet.dts for packet in packets]
        kept = packets[:gone] + packets[gone + 1 :]
        for packet, dts in zip(kept, times, strict=False):
            packet.dts = dts
        return kept

    path = remuxed(videos[name], tmp_path / name, without_one)
    shown = numbers(pyav_reader._by_packets(path, AllFrames(), ReaderLimits(max_substituted=1.0)))
    for index in range(0, NUM_FRAMES - 1, 3):
        by_index = pyav_reader._by_index(path, lambda _, index=index: [index], LIMITS)
        assert by_index is None or numbers(by_index) == [shown[index]]


def test_a_grid_proves_a_frame_only_with_all_stamps_before_it() -> None:
    grid = Grid(0, 10)
    assert grid.proves(30, 0, [0, 20, 10, 30])
    assert grid.proves(50, 40, [40, 50])
    assert not grid.proves(30, 0, [0, 20, 30])  # one stamp is missing
    assert not grid.proves(30, 0, [0, 10, 20, 25, 30])  # one stamp is off the grid
    assert not grid.proves(50, 40, [40, 30, 50])  # shown before the key frame that precedes it in the file
    assert not grid.proves(50, 40, [50, 40])
    assert not grid.proves(10, 0, [0, None, 10])
    assert not grid.proves(10, 0, [0, 0, 10])  # two frames of one stamp
    assert not grid.proves(10, 0, [])


def test_cut_and_fragmented_files_have_no_presumed_header(videos: dict[str, Path], tmp_path: Path) -> None:
    short = tmp_path / "short.mp4"
    short.write_bytes(videos["faststart.mp4"].read_bytes()[:-2000])
    for path in (short, videos["fragmented.mp4"], videos["variable_rate.mp4"], videos["h264.mkv"]):
        with open_video_file(path, LIMITS) as video:
            assert presumed_header(video) is None
    assert len(read_frames(videos["fragmented.mp4"], AllFrames()).indices) == NUM_FRAMES
