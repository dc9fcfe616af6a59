"""Resizing equals the reference, with and without antialiasing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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

    assert np.abs(ours.astype(int) - golden).max() <= 1  # rounding of a half; the tolerance that the goldens state


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.integers(1, 90)] * 4), st.booleans(), st.integers(0, 2**16))
def test_any_size_is_resized_as_by_torch_in_float(sizes: tuple[int, ...], antialias: bool, seed: int) -> None:
    height, width, new_height, new_width = sizes
    frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)

    ours = resize(frames, new_height, new_width, antialias)

    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    floats = torch.nn.functional.interpolate(
        pixels, (new_height, new_width), mode="bicubic", align_corners=False, antialias=antialias
    )
    theirs = floats.clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-3  # the nearest integer, or the other one where it is a half


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.booleans())
def test_the_kernel_has_the_support_of_torch_s(size: int, wanted: int, antialias: bool) -> None:
    frames = np.zeros((size, 1, size, 3), np.uint8)
    frames[np.arange(size), 0, np.arange(size)] = 200

    ours = resize(frames, 1, wanted, antialias)

    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    theirs = torch.nn.functional.interpolate(
        pixels, (1, wanted), mode="bicubic", align_corners=False, antialias=antialias
    )
    floats = theirs.clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - floats).max() <= 0.5 + 1e-3


def test_a_process_that_only_resizes_does_not_load_torch() -> None:
    code = "import sys, numpy; from sg.video.resize import resize; resize(numpy.zeros((1, 9, 9, 3), numpy.uint8), 4, 4)"
    done = subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=False)
    assert done.returncode == 0


def test_frames_that_are_not_contiguous_are_resized_equally() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 3, 50, 40), dtype=np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(resize(frames, 20, 30), resize(frames.copy(order="C"), 20, 30))
    assert resize(frames[:0], 20, 30).shape == (0, 20, 30, 3)


def test_frames_of_the_wanted_size_are_returned_unchanged() -> None:
    frames = np.zeros((2, 28, 28, 3), np.uint8)
    assert resize(frames, 28, 28) is frames
