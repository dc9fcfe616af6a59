"""Written video files can be read, and the same frames give the same bytes."""

from pathlib import Path

import av
import numpy as np
import pytest

from sg.core.errors import DataError
from sg.video.writer import write_video


def noise(frames: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def test_a_written_video_has_the_given_frames_size_rate_and_codec(tmp_path: Path) -> None:
    path = write_video(tmp_path / "deep" / "video.mp4", noise(9, 48, 80), fps=1)

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 80, 48)
        assert stream.average_rate == 1
        assert len(list(container.decode(stream))) == 9


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_video(tmp_path / name, noise(5), fps=2.5).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second


def test_colours_survive(tmp_path: Path) -> None:
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    frames[:] = np.array([200, 30, 90])
    with av.open(str(write_video(tmp_path / "video.mp4", frames, fps=1))) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.abs(np.stack(decoded).astype(int) - frames).max() <= 4  # rounding of YUV, measured 2


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (noise(0), "expected uint8"),
        (noise(2).astype(float), "expected uint8"),
        (noise(2, 63, 64), "even width and height"),
    ],
)
def test_invalid_frames_are_refused_and_leave_no_file(tmp_path: Path, frames: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_video(tmp_path / "video.mp4", frames, fps=1)
    assert not list(tmp_path.iterdir())
