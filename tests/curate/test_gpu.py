import numpy as np
import pytest
import torch

from sg.curate.describe.statistics import StatisticsSettings, core_statistics
from sg.curate.tome.merge import merge_videos
from sg.curate.tome.settings import TomeConfig
from tests.curate.builders import clumpy_videos

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CELLS = {"matcher": "cells", "exact_below": 2, "rows_per_cell": 40, "probed_cells": 1000}


@pytest.mark.parametrize("settings", [{}, {"dtype": "float64"}, {"block_rows": 100, "block_columns": 300}, CELLS])
def test_a_gpu_gives_the_forest_of_the_cpu(settings):
    videos = clumpy_videos(3000, dim=64, dtype=settings.get("dtype", "float32"))
    expected, _ = merge_videos(videos, TomeConfig(device="cpu", **settings))
    torch.set_float32_matmul_precision("medium")  # as training may have left it
    try:
        found, _ = merge_videos(videos, TomeConfig(device="cuda", **settings))
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(found.video, expected.video)
    np.testing.assert_array_equal(found.into, expected.into)
    np.testing.assert_allclose(found.similarity, expected.similarity, atol=1e-9)


def test_statistics_of_cores_equal_those_of_the_cpu():
    from tests.curate.describe.test_statistics import curated

    forest, unit = curated(TomeConfig())
    results = [core_statistics(forest, unit, [50, 200], StatisticsSettings(device=name)) for name in ("cpu", "cuda")]
    assert results[0]["cores"][0]["coverage"] == pytest.approx(results[1]["cores"][0]["coverage"], abs=1e-5)
