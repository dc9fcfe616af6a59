"""Rare damage: an index that does not allow seeking, and key frames that are all hidden."""

from dataclasses import replace
from pathlib import Path

import av

from sg.video.frames import ReaderLimits
from sg.video.open_video import MP4, open_video_file
from sg.video.packets import _Row, _stamps


def test_frames_before_the_only_key_frames_cannot_be_trusted() -> None:
    rows = [_Row(pts, pts, 100 * pts, 100, False) for pts in range(3)]
    assert _stamps(rows, hidden_keys=[10], container=MP4, is_cut=True) == ((), ())
    assert _stamps(rows, hidden_keys=[1], container=MP4, is_cut=True) == ((1, 2), (1,))


class Unseekable:
    """A container whose damaged index FFmpeg refuses, as in one of some hundred damaged files."""

    def seek(self, *place: object, **how: object) -> None:
        raise av.error.PermissionError(1, "Operation not permitted")


def test_a_file_that_does_not_allow_seeking_returns_false(videos: dict[str, Path]) -> None:
    with open_video_file(videos["short_gop.mp4"], ReaderLimits()) as video:
        assert video.seek(0)
        assert not replace(video, container=Unseekable()).seek(0)
