"""The joint law of held-out loss: loss = E + A / N^alpha + B / D^beta, for N weights and D distinct captions.

It is written around the geometric means N0 and D0 of the points, `E + a (N0 / N)^alpha + b (D0 / D)^beta`, because A
and alpha compensate each other so strongly that no interval of A says anything. A = a N0^alpha.

`benchmarks/statistics/joint_law.py` measures the coverage of the intervals, and why three sizes and three numbers of
captions are the fewest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sg.report.numbers.estimates import ArmScore, Estimate, Floats, SeedNoise, covariance

LEVEL = 0.05
FEWEST = 3
"""Fewest sizes of the model, and fewest numbers of captions. Two points of an axis never determine an exponent."""
EXPONENTS = (0.02, 3.0)
"""Bounds of the exponents: below, the law is a logarithm; above, it is a step."""
GRID = 80
"""Points per exponent of the grid of fits, about half of them within the interval."""
PARAMETERS = ("E", "a", "b", "alpha", "beta")


@dataclass(frozen=True, slots=True)
class JointLaw:
    """The fitted law.

    Attributes:
        parameters: by name of `PARAMETERS`, with 95 % intervals of the profile likelihood.
        size, captions: N0 and D0.
        points: number of fitted points.
        p: that the law describes the points, by an F test of the residuals; None without a degree of freedom.
        free: exponents whose interval reaches a bound of `EXPONENTS`: the points do not determine them.
    """

    parameters: dict[str, Estimate]
    size: float
    captions: float
    points: int
    p: float | None
    free: list[str]

    @property
    def is_rejected(self) -> bool:
        """Whether the residuals are larger than their errors (p < .05): its parameters then describe nothing."""
        return self.p is not None and self.p < LEVEL


def lacking_points(sizes: int, scales: int, points: int) -> str:
    """Why `points` points at so many model sizes and scales do not determine the law, in words; "" if they do."""
    if min(sizes, scales) < FEWEST:
        return (
            f"it needs {FEWEST} sizes of the model and {FEWEST} numbers of captions, and these studies have "
            f"{sizes} and {scales}"
        )
    few = points < len(PARAMETERS)
    return f"it has {len(PARAMETERS)} parameters, and there are {points} points" if few else ""


def joint_errors(samples: Sequence[ArmScore], noises: Sequence[SeedNoise | None]) -> tuple[Floats, float]:
    """Return the covariance of the means of `samples` [n, n] over videos and seeds, and its degrees of freedom.

    `noises` are those of the sample's own model, so that no model lends its noise to another. The degrees of freedom
    are those of differences between points (Satterthwaite): the difficulty that all points share moves only E.
    """
    matrix, df = covariance(samples, None)
    known = {id(noise): noise for noise in noises if noise is not None}
    if not known:
        return matrix, df
    seeds, points = len(samples[0].seeds), len(samples)
    own = np.array([0.0 if noise is None else max(noise.excess, 0.0) / seeds for noise in noises])
    items = float(np.trace(matrix) - matrix.sum() / points) / (points - 1)
    whole = float(np.mean([noise.mean_square for noise in known.values()])) / seeds
    freedom = sum(noise.df for noise in known.values())
    return matrix + np.diag(own), (items + own.mean()) ** 2 / (items**2 / df + whole**2 / freedom)


def predicted(sizes: Floats, captions: Floats, parameters: Floats) -> Floats:
    """The law at `sizes` and `captions` [n], in units of N0 and D0, with `parameters` in the order of `PARAMETERS`."""
    level, a, b, alpha, beta = parameters
    return np.asarray(level + a * sizes**-alpha + b * captions**-beta)


def fit_law(
    sizes: Sequence[float], captions: Sequence[float], losses: Sequence[float], covariance: Floats, df: float
) -> JointLaw:
    """Fit the law to `losses` [n] by generalised least squares.

    An interval holds the values that a likelihood-ratio test against the best fit keeps, whatever the other parameters
    are (profile likelihood). For given exponents the law is linear, so a grid over both exponents finds all of them.

    Args:
        covariance: [n, n] of the losses, over videos and seeds, estimated on `df` degrees of freedom.
    """
    from scipy.stats import f, t

    x, y = np.log(np.array([sizes, captions], dtype=np.float64)), np.array(losses, dtype=np.float64)
    centre = x.mean(axis=1)
    n, d = np.exp(x - centre[:, None])
    freedom = len(y) - len(PARAMETERS)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    best = _best_fit(n, d, y, whitening)
    least = float(((whitening @ (y - predicted(n, d, best))) ** 2).sum())
    # Residuals above their errors widen the intervals (Birge 1932): the law or the errors are only about right.
    quantile = float(t.ppf(0.975, df)) * max(1.0, float(np.sqrt(least / freedom)) if freedom else 1.0)
    low, high = _profile_ends(n, d, y, whitening, best, least + quantile**2)
    columns = np.stack([best, np.minimum(low, best), np.maximum(high, best), (high - low) / 2 / quantile], axis=1)
    parameters = {name: Estimate(*column) for name, column in zip(PARAMETERS, columns.tolist(), strict=True)}
    edges = 1.01 * EXPONENTS[0], 0.99 * EXPONENTS[1]
    free = [name for name in PARAMETERS[3:] if parameters[name].low < edges[0] or parameters[name].high > edges[1]]
    p = float(f.sf(least / freedom, freedom, df)) if freedom > 0 else None
    return JointLaw(parameters, float(np.exp(centre[0])), float(np.exp(centre[1])), len(y), p, free)


def _profile_ends(
    n: Floats, d: Floats, y: Floats, whitening: Floats, best: Floats, largest: float
) -> tuple[Floats, Floats]:
    """Lowest and highest value of each parameter [5] among all laws whose chi-squared is at most `largest`."""
    centre, bounds = np.log(best[3:, None]), np.log(EXPONENTS)
    slopes = whitening @ _slopes(n, d, best)
    spread = np.linalg.pinv(slopes.T @ slopes + 1e-9 * np.eye(len(best)), hermitian=True)
    reach = 2 * np.sqrt(largest * np.diag(spread)[3:, None]) / best[3:, None]
    while True:
        box = np.clip(centre + reach * [-1, 1], *bounds)
        axes = [np.linspace(low, high, GRID) for low, high in box]
        alphas, betas = (np.exp(values).ravel() for values in np.meshgrid(*axes, indexing="ij"))
        values, errors, chi2 = _linear_fits(n, d, y, whitening, alphas, betas)
        kept = (chi2 <= largest) | (chi2 == chi2.min())
        exponents = np.log([alphas[kept], betas[kept]])
        ends = np.stack([exponents.min(axis=1), exponents.max(axis=1)], axis=1)
        cut = ((np.abs(ends - box) < 1e-9) & (np.abs(box - bounds) > 1e-9)).any(axis=1)
        if not cut.any():
            break
        reach[cut] *= 2
    spread = np.sqrt(np.maximum(largest - chi2[kept], 0.0))[:, None] * errors[kept]
    low, high = (values[kept] - spread).min(axis=0), (values[kept] + spread).max(axis=0)
    low[1:] = np.maximum(low[1:], 0.0)  # `a` and `b` are not negative
    return np.array([*low, *np.exp(ends[:, 0])]), np.array([*high, *np.exp(ends[:, 1])])


def _linear_fits(
    n: Floats, d: Floats, y: Floats, whitening: Floats, alphas: Floats, betas: Floats
) -> tuple[Floats, Floats, Floats]:
    """(E, a, b) [g, 3] of the best fits with the exponents [g], their standard errors [g, 3], and chi-squared [g].

    `a` and `b` are at least 0: the best fit has them positive, or is the best one without the others.
    """
    columns = np.stack([np.ones((len(alphas), len(n))), n ** -alphas[:, None], d ** -betas[:, None]], axis=2)
    design, target = whitening @ columns, whitening @ y
    values, errors = np.zeros((len(alphas), 3)), np.zeros((len(alphas), 3))
    chi2 = np.full(len(alphas), np.inf)
    for kept in ([0, 1, 2], [0, 1], [0, 2], [0]):
        part = design[:, :, kept]
        inverse = np.linalg.pinv(np.swapaxes(part, 1, 2) @ part, hermitian=True)
        found = (inverse @ np.swapaxes(part, 1, 2) @ target[:, None])[:, :, 0]
        own = ((target - (part @ found[:, :, None])[:, :, 0]) ** 2).sum(axis=1)
        better = (found[:, 1:] >= 0).all(axis=1) & (own < chi2)
        chi2[better] = own[better]
        values[better], errors[better] = 0.0, 0.0
        values[np.ix_(better, kept)] = found[better]
        errors[np.ix_(better, kept)] = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2))[better]
    return values, errors, chi2


def _best_fit(n: Floats, d: Floats, y: Floats, whitening: Floats) -> Floats:
    """The parameters [5] of bounded least squares, from the best point of a coarse grid over all exponents."""
    from scipy.optimize import least_squares

    grid = np.geomspace(*EXPONENTS, 30)
    alphas, betas = (values.ravel() for values in np.meshgrid(grid, grid, indexing="ij"))
    values, _, chi2 = _linear_fits(n, d, y, whitening, alphas, betas)
    at = int(chi2.argmin())
    low = np.array([-np.inf, 0.0, 0.0, EXPONENTS[0], EXPONENTS[0]])
    high = np.array([np.inf, np.inf, np.inf, EXPONENTS[1], EXPONENTS[1]])

    def residuals(parameters: Floats) -> Floats:
        return np.asarray(whitening @ (y - predicted(n, d, parameters)))

    def slopes(parameters: Floats) -> Floats:
        return np.asarray(-whitening @ _slopes(n, d, parameters))

    start = np.clip([*values[at], alphas[at], betas[at]], low + 1e-9, high - 1e-9)
    found = least_squares(residuals, start, slopes, bounds=(low, high), max_nfev=100)
    return np.asarray(found.x, dtype=np.float64)


def _slopes(n: Floats, d: Floats, parameters: Floats) -> Floats:
    """Derivatives [n, 5] of the law by its parameters."""
    _, a, b, alpha, beta = parameters
    of_size, of_captions = n**-alpha, d**-beta
    columns = [np.ones_like(n), of_size, of_captions, -a * of_size * np.log(n), -b * of_captions * np.log(d)]
    return np.stack(columns, axis=1)
