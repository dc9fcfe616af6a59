import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.core.errors import DataError
from sg.report.numbers.curve_fits import CONSTANT, SATURATING, STEP, CurveFit, fit_curves

TABLES: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "goldens" / "video_mme" / "seed_tables.json").read_text()
)
SCALES = [0, 50, 100, 200, 400, 530]


def published_fits(setting: str) -> dict[str, CurveFit]:
    counts = [TABLES[setting][f"{scale}k"]["correct"]["overall"] for scale in SCALES]
    error = math.sqrt(0.22 / 2 / 2700)  # two models that disagree on 22 % of the questions
    fits = fit_curves(SCALES, [count / 2700 for count in counts], [error] * 6, resamples=5)
    return {fit.name: fit for fit in fits}


@pytest.mark.parametrize(("setting", "aic", "margin"), [("without_subtitles", 6.8, 0.8), ("with_subtitles", 4.4, 1.9)])
def test_the_published_study_prefers_a_step_by_aic_and_a_constant_by_aicc(
    setting: str, aic: float, margin: float
) -> None:
    fits = published_fits(setting)
    assert min(fits, key=lambda name: fits[name].aic) == STEP
    assert round(fits[STEP].aic, 1) == aic
    assert min(fits, key=lambda name: fits[name].aicc) == CONSTANT
    assert round(fits[STEP].aicc - fits[CONSTANT].aicc, 1) == margin


def test_a_saturating_truth_is_found_again() -> None:
    scales = np.array([0, 10, 30, 50, 100, 150, 200, 400, 530, 800])
    values = 0.3 + 0.1 * (1 - (1 + scales / 100) ** -2.0)
    best = fit_curves(scales, values, [0.001] * len(scales), resamples=20)[0]
    assert best.name == SATURATING
    assert best.chi2 < 0.01
    assert best.curve == pytest.approx(0.3 + 0.1 * (1 - (1 + best.grid / 100) ** -2.0), abs=0.001)


def test_a_band_covers_its_curve_and_widens_with_the_errors() -> None:
    values = [0.30, 0.33, 0.36, 0.37, 0.38, 0.38]
    narrow, wide = (
        {fit.name: fit for fit in fit_curves(SCALES, values, [error] * 6, resamples=50)} for error in (0.003, 0.01)
    )
    for name in (CONSTANT, STEP, SATURATING):
        assert np.all((wide[name].low <= wide[name].curve + 1e-3) & (wide[name].curve <= wide[name].high + 1e-3))
        assert np.mean(wide[name].high - wide[name].low) > 2 * np.mean(narrow[name].high - narrow[name].low)


def test_too_few_points_for_a_correction_give_an_infinite_aicc() -> None:
    fits = {fit.name: fit for fit in fit_curves([0, 50, 100], [0.3, 0.4, 0.4], [0.01] * 3, resamples=5)}
    assert math.isinf(fits[SATURATING].aicc)
    assert math.isfinite(fits[CONSTANT].aicc)


@pytest.mark.parametrize(
    ("scales", "errors", "message"),
    [
        ([0, 50], [0.01] * 2, "three or more points"),
        ([10, 50, 100], [0.01] * 3, "needs a baseline at scale 0"),
        ([0, 50, 100], [0.01, 0.01, 0.0], "positive standard errors"),
    ],
)
def test_points_that_cannot_be_fitted_are_refused(scales: list[float], errors: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_curves(scales, [0.4] * len(scales), errors)
