"""Resizing equals the reference's, with and without antialiasing."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sg.video.resize import resize

GOLDENS = load_file(Path(__file__).parents[1] / "goldens" / "internvideo2" / "preproc.safetensors")
CASES = sorted({name.split(".")[0] for name in GOLDENS})


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("antialias", "name"), [(False, "bicubic_noaa"), (True, "bicubic_aa")])
def test_resizing_equals_the_golden_pictures(case: str, antialias: bool, name: str) -> None:
    frames = GOLDENS[f"{case}.frames_uint8"].transpose(0, 2, 3, 1)
    golden = next(
        GOLDENS[key] for key in GOLDENS if key.startswith(f"{case}.{name}") and GOLDENS[key].dtype == np.uint8
    )

    ours = resize(np.ascontiguousarray(frames), 28, 28, antialias).transpose(0, 3, 1, 2)

    assert np.abs(ours.astype(int) - golden).max() <= 1  # rounding of a half; the goldens' own tolerance


def test_frames_of_the_right_size_are_left_alone() -> None:
    frames = np.zeros((2, 28, 28, 3), np.uint8)
    assert resize(frames, 28, 28) is frames
