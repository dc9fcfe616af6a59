"""Folders of pictures are read as videos."""

from pathlib import Path

import pytest
from PIL import Image

from sg.core.content import file_content, file_stamp, file_state
from sg.video.frames import UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import MiddlesBetween


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(1, count + 1):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / f"{number:05d}.png")
    return folder


def test_a_folder_of_pictures_is_a_video_of_three_frames_per_second(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "show", 12)
    frames = read_frames(folder, MiddlesBetween(4, 1.0, 3.0, first=1))
    # Numbers 3 + 0.75 + 0, 2, 3, 4 of 3..9, so the files 3, 5, 6 and 7.
    assert frames.indices == (2, 4, 5, 6)
    assert frames.frames[:, 0, 0, 0].tolist() == [3, 5, 6, 7]
    assert (frames.fps, frames.num_frames, probe(folder).duration_s) == (3.0, 12, 4.0)


def test_other_pictures_are_another_content(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "show", 2)
    before, stamp = file_content(folder), file_stamp(folder)
    state = file_state(folder)
    assert state is not None and (state.content, state.stamp) == (before, stamp)
    Image.new("RGB", (8, 6)).save(folder / "00002.png")
    assert file_content(folder) != before and file_stamp(folder) != stamp


def test_a_folder_without_readable_pictures_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "show"
    folder.mkdir()
    with pytest.raises(UnreadableVideoError, match="show: the folder has no pictures"):
        probe(folder)
    (folder / "00001.jpg").write_bytes(b"no picture")
    with pytest.raises(UnreadableVideoError, match=r"show/00001\.jpg"):
        read_frames(folder, [0])
