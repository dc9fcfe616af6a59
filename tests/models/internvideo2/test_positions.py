"""Initial values and resizing of position tables equal the published code; preprocessing equals the goldens."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sg.core.errors import ModelError
from sg.models.internvideo2.positions import mean_over_time, resize_table, sine_cosine_table, table_frames, table_grid
from sg.models.internvideo2.preprocessing import normalise
from sg.video.resize import resize
from tests.models.internvideo2 import goldens
from tests.models.internvideo2.goldens import close

CASES = json.loads((goldens.FOLDER / "pos_interp.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_a_resized_table_equals_the_golden_one(case: dict[str, int]) -> None:
    tables = goldens.load("pos_interp.safetensors")
    before, after = tables[f"case{case['case']}.in"], tables[f"case{case['case']}.out"]
    ours = resize_table(before, case["frames_in"], case["frames_out"], case["grid_out"], case["grid_out"])
    close(ours, after, atol=1e-5)
    assert table_frames(before.shape[1], case["grid_in"]) == case["frames_in"]
    assert table_grid(before.shape[1], case["frames_in"]) == case["grid_in"]


@pytest.mark.parametrize(("width", "grid", "frames"), [(16, 2, 3), (32, 4, 8), (48, 4, 4)])
def test_the_initial_values_equal_the_golden_ones(width: int, grid: int, frames: int) -> None:
    golden = goldens.load("sincos.safetensors")[f"dim{width}_grid{grid}_t{frames}"]
    close(sine_cosine_table(width, frames, grid)[0], golden.reshape(-1, width), atol=1e-5)


def test_a_table_that_fits_no_size_is_refused() -> None:
    with pytest.raises(ModelError, match="width 20"):
        sine_cosine_table(20, 2, 2)
    with pytest.raises(ModelError, match="66 entries"):
        table_frames(66, 4)
    with pytest.raises(ModelError, match="66 entries"):
        resize_table(torch.zeros(1, 66, 16), 4, 8, 4, 4)
    assert table_grid(66, 4) is None


def test_the_mean_over_time_keeps_the_class_entry() -> None:
    table = torch.arange(1 + 2 * 4, dtype=torch.float32)[None, :, None].expand(1, 9, 16)
    assert mean_over_time(table, 2)[0, :, 0].tolist() == [0, 3, 4, 5, 6]


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize(("antialias", "name"), [(False, "bicubic_noaa"), (True, "bicubic_aa")])
def test_preprocessing_gives_the_golden_pixels(case: int, antialias: bool, name: str) -> None:
    io = load_file(goldens.FOLDER / "preproc.safetensors")
    frames = np.ascontiguousarray(io[f"case{case}.frames_uint8"].transpose(0, 2, 3, 1))
    ours = normalise(torch.from_numpy(resize(frames, 28, 28, antialias)))
    golden = torch.from_numpy(io[f"case{case}.{name}"])
    grey_level = 1 / 255 / 0.224
    off = (ours - golden).abs()
    assert off.max() <= 1.1 * grey_level  # a rounding of a half
    assert (off > 1e-5).float().mean() < 0.01
