"""Does accuracy grow with scale? Three curves fitted to a study's points, tested by chi-squared, compared by AIC.

Constant: captions have no effect. Step: captions help, but their number does not matter. Saturating power law: more
captions help more, with diminishing returns. Six points hardly ever identify the last one, so it is reported beside the
other two, and none of its parameters is shown (`docs/reference/video_mme.md`, section 6).

The observations behind a point are thousands of questions, and their errors are known. So chi-squared measures whether
a curve describes the points at all, and AIC is chi-squared plus twice the number of parameters. Its correction for few
observations (AICc) does not apply: it would count the points, and punish the saturating curve for having six of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        chi2: sum of squared residuals in units of the points' errors.
        degrees: degrees of freedom, points minus parameters.
        p: p of chi-squared, that the curve describes the points; None without a degree of freedom.
        aic: Akaike's information criterion, chi2 + 2 * number of parameters; lower is better.
    """

    name: str
    parameters: dict[str, float]
    chi2: float
    degrees: int
    p: float | None
    aic: float


@dataclass(frozen=True, slots=True)
class _Points:
    """Scales and values [n], and the matrix [n, n] that makes their errors independent and of size 1."""

    scales: Floats
    values: Floats
    whitening: Floats

    def residuals(self, fitted: Floats) -> Floats:
        return np.asarray(self.whitening @ (self.values - fitted))


@dataclass(frozen=True, slots=True)
class _Curve:
    """A curve: the names of its parameters, its formula, and how it is fitted."""

    parameters: tuple[str, ...]
    value: Callable[[Floats, Floats], Floats]
    fit: Callable[[_Points], Floats]


def _fit_linear(points: _Points, columns: Sequence[Floats]) -> Floats:
    design = points.whitening @ np.stack(columns, axis=1)
    return np.asarray(np.linalg.lstsq(design, points.whitening @ points.values, rcond=None)[0])


def _fit_constant(points: _Points) -> Floats:
    return _fit_linear(points, [np.ones_like(points.scales)])


def _fit_step(points: _Points) -> Floats:
    return _fit_linear(points, [np.ones_like(points.scales), (points.scales > 0).astype(np.float64)])


def _saturating(x: Floats, parameters: Floats) -> Floats:
    start, gain, log_half_scale, exponent = parameters
    return np.asarray(start + gain * (1 - (1 + x / np.exp(log_half_scale)) ** -exponent))


def _fit_saturating(points: _Points) -> Floats:
    """Bounded least squares, the best of three starts.

    The half scale and the exponent compensate each other along a long valley of the error, so one start often ends in a
    local minimum. The bounds keep a curve without visible curvature from running to infinite parameters.
    """
    from scipy.optimize import least_squares

    def residuals(parameters: Floats) -> Floats:
        return points.residuals(_saturating(points.scales, parameters))

    values, largest = points.values, float(points.scales.max())
    spread = float(np.ptp(values)) or 1 / float(np.abs(points.whitening).max())
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
        for each in starts
    ]
    return np.asarray(min(results, key=lambda result: float(result.cost)).x, dtype=np.float64)


_CURVES = {
    CONSTANT: _Curve(("level",), lambda x, p: np.full_like(x, p[0]), _fit_constant),
    STEP: _Curve(("start", "gain"), lambda x, p: np.where(x > 0, p[0] + p[1], p[0]), _fit_step),
    SATURATING: _Curve(("start", "gain", "log_half_scale", "exponent"), _saturating, _fit_saturating),
}


def _fit(name: str, points: _Points) -> CurveFit:
    from scipy.special import chdtrc

    curve = _CURVES[name]
    best = curve.fit(points)
    chi2 = float((points.residuals(curve.value(points.scales, best)) ** 2).sum())
    degrees = len(points.scales) - len(best)
    return CurveFit(
        name=name,
        parameters=dict(zip(curve.parameters, (float(value) for value in best), strict=True)),
        chi2=chi2,
        degrees=degrees,
        p=float(chdtrc(degrees, chi2)) if degrees > 0 else None,
        aic=chi2 + 2 * len(best),
    )


def fit_curves(scales: Sequence[float], values: Sequence[float], errors: ArrayLike) -> list[CurveFit]:
    """Fit the curves to `values` at `scales` (0 = the baseline, which must be among them); best AIC first.

    Args:
        errors: [n] standard errors of comparing points with each other, without the difficulty of the questions that
            all runs share (for paired runs sqrt(discordance / 2 / questions)), or the points' covariance [n, n].

    Returns:
        The curves with at most as many parameters as there are points.

    Raises:
        DataError: there are fewer than three points, no baseline, no other scale, or an error is not positive.
    """
    x, y, e = (np.asarray(item, dtype=np.float64) for item in (scales, values, errors))
    if not x.shape == y.shape == e.shape[:1] or len(x) < 3:
        raise DataError(f"A curve needs three or more points with errors, got {len(x)}, {len(y)} and {len(e)} numbers.")
    variances = np.diag(e**2) if e.ndim == 1 else e
    if not (x == 0).any() or not (x > 0).any() or not (np.linalg.eigvalsh(variances) > 0).all():
        raise DataError("A curve needs a baseline at scale 0, a point above it, and positive standard errors.")
    order = np.argsort(x, kind="stable")
    whitening = np.linalg.inv(np.linalg.cholesky(variances[np.ix_(order, order)]))
    points = _Points(x[order], y[order], np.asarray(whitening))
    fitted = [name for name, curve in _CURVES.items() if len(curve.parameters) <= len(x)]
    return sorted((_fit(name, points) for name in fitted), key=lambda fit: fit.aic)
