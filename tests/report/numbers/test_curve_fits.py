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
    fits = fit_curves(SCALES, [count / 2700 for count in counts], [error] * 6)
    return {fit.name: fit for fit in fits}


@pytest.mark.parametrize(("setting", "aic"), [("without_subtitles", 6.8), ("with_subtitles", 4.4)])
def test_the_published_study_prefers_a_step_by_aic_and_rejects_no_curve(setting: str, aic: float) -> None:
    fits = published_fits(setting)
    assert min(fits, key=lambda name: fits[name].aic) == STEP
    assert round(fits[STEP].aic, 1) == aic
    assert all(fit.p is not None and fit.p > 0.05 for fit in fits.values())


def test_chi_squared_is_that_of_the_residuals() -> None:
    fits = {fit.name: fit for fit in fit_curves([0, 50, 100, 200], [1.0, 2.0, 3.0, 2.0], [0.5] * 4)}
    assert (fits[CONSTANT].chi2, fits[CONSTANT].degrees) == (pytest.approx(2.0 / 0.25), 3)
    assert fits[CONSTANT].p == pytest.approx(0.046, abs=0.001)
    assert (fits[SATURATING].degrees, fits[SATURATING].p) == (0, None)


def test_an_error_that_all_points_share_does_not_change_the_comparison_of_curves() -> None:
    values = [0.40, 0.42, 0.43, 0.44, 0.45, 0.46]
    alone = fit_curves(SCALES, values, [0.01] * 6)
    shared = fit_curves(SCALES, values, np.eye(6) * 0.01**2 + 0.05**2)
    # an error of the level moves all points alike, and every curve has a level
    assert [fit.chi2 for fit in shared] == pytest.approx([fit.chi2 for fit in alone], rel=1e-3)


def test_a_saturating_truth_is_found_again() -> None:
    scales = np.array([0, 10, 30, 50, 100, 150, 200, 400, 530, 800])
    values = 0.3 + 0.1 * (1 - (1 + scales / 100) ** -2.0)
    best = fit_curves(scales, values, [0.001] * len(scales))[0]
    assert best.name == SATURATING
    assert best.chi2 < 0.01
    found = best.parameters
    shares = 1 - (1 + scales / math.exp(found["log_half_scale"])) ** -found["exponent"]
    assert found["start"] + found["gain"] * shares == pytest.approx(values, abs=0.001)


def test_a_curve_with_more_parameters_than_points_is_not_fitted() -> None:
    assert [fit.name for fit in fit_curves([0, 50, 100], [0.3, 0.4, 0.4], [0.01] * 3)] == [STEP, CONSTANT]


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
