"""Does accuracy grow with scale? Three curves fitted to a study's points, compared by AICc.

Constant: captions have no effect. Step: captions help, but their number does not matter. Saturating power law: more
captions help more, with diminishing returns. Six points hardly ever identify the last one, so it is reported beside the
other two and with a confidence band (`docs/reference/video_mme.md`, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sg.core.errors import DataError

Floats = NDArray[np.float64]

CONSTANT = "constant"
STEP = "step"
SATURATING = "saturating power law"


@dataclass(frozen=True, slots=True)
class CurveFit:
    """One curve fitted to the points.

    Attributes:
        name: the curve, one of `CONSTANT`, `STEP`, `SATURATING`.
        parameters: the fitted parameters by name.
        chi2: sum of squared residuals in units of the points' standard errors.
        aic: Akaike's information criterion, chi2 + 2 * number of parameters; lower is better.
        aicc: AIC corrected for few points; infinite if there are too few points for the correction.
        grid, curve, low, high: [g] scales, the curve at these scales, and its pointwise 95 % band (parametric
            bootstrap).
    """

    name: str
    parameters: dict[str, float]
    chi2: float
    aic: float
    aicc: float
    grid: Floats
    curve: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class _Curve:
    """A curve: the names of its parameters, its formula, and how it is fitted to points [n] with standard errors.

    `fit` takes scales, values, errors and the parameters to start from (None: several starts are tried).
    """

    parameters: tuple[str, ...]
    value: Callable[[Floats, Floats], Floats]
    fit: Callable[[Floats, Floats, Floats, Floats | None], Floats]


def _weighted_mean(values: Floats, errors: Floats) -> float:
    return float(np.average(values, weights=errors**-2))


def _fit_constant(scales: Floats, values: Floats, errors: Floats, start: Floats | None) -> Floats:
    return np.array([_weighted_mean(values, errors)])


def _fit_step(scales: Floats, values: Floats, errors: Floats, start: Floats | None) -> Floats:
    zero = scales == 0
    parts = [_weighted_mean(values[part], errors[part]) for part in (zero, ~zero)]
    return np.array([parts[0], parts[1] - parts[0]])


def _saturating(x: Floats, parameters: Floats) -> Floats:
    start, gain, log_half_scale, exponent = parameters
    return np.asarray(start + gain * (1 - (1 + x / np.exp(log_half_scale)) ** -exponent))


def _fit_saturating(scales: Floats, values: Floats, errors: Floats, start: Floats | None) -> Floats:
    """Bounded least squares; without a start, the best of three.

    The half scale and the exponent compensate each other along a long valley of the error, so one start often ends in a
    local minimum. The bounds keep a curve without visible curvature from running to infinite parameters.
    """
    from scipy.optimize import least_squares

    def residuals(parameters: Floats) -> Floats:
        return np.asarray((values - _saturating(scales, parameters)) / errors)

    largest, spread = float(scales.max()), float(np.ptp(values)) or float(errors.mean())
    low = np.array([-np.inf, -20 * spread, np.log(largest / 1e4), 0.05])
    high = np.array([np.inf, 20 * spread, np.log(largest * 100), 5.0])
    gain = float(values[-1] - values[0])
    starts = [np.array([values[0], gain, np.log(largest * part), 1.0]) for part in (0.02, 0.2, 1.0)]
    results = [
        least_squares(
            residuals,
            np.clip(each, low, high),
            bounds=(low, high),
            x_scale=np.array([spread, spread, 1.0, 1.0]),
            max_nfev=200,
        )
        for each in ([start] if start is not None else starts)
    ]
    return np.asarray(min(results, key=lambda result: float(result.cost)).x, dtype=np.float64)


_CURVES = {
    CONSTANT: _Curve(("level",), lambda x, p: np.full_like(x, p[0]), _fit_constant),
    STEP: _Curve(("start", "gain"), lambda x, p: np.where(x > 0, p[0] + p[1], p[0]), _fit_step),
    SATURATING: _Curve(("start", "gain", "log_half_scale", "exponent"), _saturating, _fit_saturating),
}


def _fit(
    name: str, scales: Floats, values: Floats, errors: Floats, grid: Floats, resamples: int, seed: int
) -> CurveFit:
    curve = _CURVES[name]
    best = curve.fit(scales, values, errors, None)
    fitted = curve.value(scales, best)
    chi2 = float((((values - fitted) / errors) ** 2).sum())
    count, points = len(best), len(scales)
    spare = points - count - 1  # the denominator of the AICc correction; 0 or less for four parameters and five points
    aic = chi2 + 2 * count
    # Parametric bootstrap: draw points around the fitted curve, fit each draw from the best parameters (one start is
    # enough near the optimum), and take percentiles of the curves. Resampling six points would repeat and lose scales.
    rng = np.random.default_rng(seed)
    draws = fitted + errors * rng.standard_normal((resamples, points))
    band = np.stack([curve.value(grid, curve.fit(scales, draw, errors, best)) for draw in draws])
    low, high = np.percentile(band, [2.5, 97.5], axis=0)
    return CurveFit(
        name=name,
        parameters=dict(zip(curve.parameters, (float(value) for value in best), strict=True)),
        chi2=chi2,
        aic=aic,
        aicc=aic + 2 * count * (count + 1) / spare if spare > 0 else math.inf,
        grid=grid,
        curve=curve.value(grid, best),
        low=low,
        high=high,
    )


def fit_curves(
    scales: Sequence[float],
    values: Sequence[float],
    standard_errors: Sequence[float],
    resamples: int = 200,
    seed: int = 0,
    grid_points: int = 101,
) -> list[CurveFit]:
    """Fit the three curves to `values` at `scales` (0 = the baseline, which must be among them); best AICc first.

    `standard_errors` are those of comparing points with each other, without the difficulty of the questions that all
    runs share: for paired runs sqrt(discordance / 2 / questions).

    Raises:
        DataError: there are fewer than three points, no baseline, no other scale, or an error is not positive.
    """
    x, y, e = (np.asarray(item, dtype=np.float64) for item in (scales, values, standard_errors))
    if not x.shape == y.shape == e.shape or len(x) < 3:
        raise DataError(f"A curve needs three or more points with errors, got {len(x)}, {len(y)} and {len(e)} numbers.")
    if not (x == 0).any() or not (x > 0).any() or not (e > 0).all():
        raise DataError("A curve needs a baseline at scale 0, a point above it, and positive standard errors.")
    order = np.argsort(x, kind="stable")
    x, y, e = x[order], y[order], e[order]
    grid = np.linspace(0, float(x.max()), grid_points)
    fits = [_fit(name, x, y, e, grid, resamples, seed) for name in _CURVES]
    return sorted(fits, key=lambda fit: (fit.aicc, fit.aic))
