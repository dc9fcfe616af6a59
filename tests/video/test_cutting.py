"""Clips cut out of long videos have exactly the frames of their time range."""

from pathlib import Path

import numpy as np
import pytest

from sg.video.cutting import cut_clip
from sg.video.frames import UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import AllFrames
from sg.video.writer import write_video


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_clip_is_exact_to_the_frame_for_all_positions_of_key_frames(tmp_path: Path, suffix: str) -> None:
    shades = np.arange(0, 200, 4, dtype=np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (len(shades), 49, 67, 3))
    video = write_video(
        tmp_path / f"video.{suffix}", np.ascontiguousarray(frames), fps=10, pixel_format="yuv444p",
        options={"g": "30", "bf": "2", "crf": "5"},
    )  # fmt: skip
    found = read_frames(cut_clip(video, tmp_path / "cut" / "clip.mp4", 1300, 2600), AllFrames())
    assert (found.width, found.height, found.fps) == (66, 48, pytest.approx(10))
    assert np.allclose(found.frames.mean((1, 2, 3)), shades[13:26], atol=2)


def test_a_range_without_frames_leaves_no_file(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", np.zeros((4, 48, 64, 3), np.uint8), fps=2)
    assert probe(cut_clip(video, tmp_path / "all.mp4", 0, 60_000)).num_frames == 4
    with pytest.raises(UnreadableVideoError, match="no whole frame from 5 s to 6 s"):
        cut_clip(video, tmp_path / "none.mp4", 5000, 6000)
    assert not (tmp_path / "none.mp4").exists()
