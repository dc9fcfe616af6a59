"""The joint law of held-out loss: loss = E + A / N^alpha + B / D^beta, for N weights and D distinct captions.

It is written around the geometric means N0 and D0 of the points, `E + a (N0 / N)^alpha + b (D0 / D)^beta`, because A
and alpha compensate each other so strongly that no interval of A says anything. A = a N0^alpha.

`benchmarks/statistics/joint_law.py` measures the coverage of the intervals, and why three sizes and three numbers of
captions are the fewest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sg.report.numbers.estimates import ArmScore, Estimate, Floats, SeedNoise, covariance

FEWEST = 3
"""Fewest sizes of the model, and fewest numbers of captions. Two points of an axis never determine an exponent."""
EXPONENTS = (0.02, 3.0)
"""Bounds of the exponents: below, the law is a logarithm; above, it is a step."""
PARAMETERS = ("E", "a", "b", "alpha", "beta")


@dataclass(frozen=True, slots=True)
class JointLaw:
    """The fitted law.

    Attributes:
        parameters: by name of `PARAMETERS`, with 95 % intervals of a parametric bootstrap.
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
    sizes: Sequence[float], captions: Sequence[float], losses: Sequence[float], covariance: Floats, df: float,
    resamples: int = 200, seed: int = 0,
) -> JointLaw:  # fmt: skip
    """Fit the law to `losses` [n] by generalised least squares.

    Args:
        covariance: [n, n] of the losses, over videos and seeds, estimated on `df` degrees of freedom.
    """
    from scipy.stats import f

    x, y = np.log(np.array([sizes, captions], dtype=np.float64)), np.array(losses, dtype=np.float64)
    centre = x.mean(axis=1)
    n, d = np.exp(x - centre[:, None])
    freedom = len(y) - len(PARAMETERS)
    root = np.linalg.cholesky(covariance)
    whitening = np.linalg.inv(root)
    best = _least_squares(n, d, y, whitening, None)
    fitted = predicted(n, d, best)
    chi2 = float(((whitening @ (y - fitted)) ** 2).sum())
    # The errors are estimated on `df` degrees of freedom: a multivariate t instead of a normal distribution.
    generator = np.random.default_rng(seed)
    stretch = np.sqrt(df / generator.chisquare(df, resamples))
    noise = root @ generator.standard_normal((len(y), resamples)) * stretch
    draws = np.array([_least_squares(n, d, fitted + one, whitening, best) for one in noise.T])
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    columns = np.stack([best, low, high, draws.std(axis=0, ddof=1)], axis=1).tolist()
    parameters = {name: Estimate(*column[:4]) for name, column in zip(PARAMETERS, columns, strict=True)}
    free = [
        name for name in PARAMETERS[3:]
        if parameters[name].low < 1.01 * EXPONENTS[0] or parameters[name].high > 0.99 * EXPONENTS[1]
    ]  # fmt: skip
    p = float(f.sf(chi2 / freedom, freedom, df)) if freedom > 0 else None
    return JointLaw(parameters, float(np.exp(centre[0])), float(np.exp(centre[1])), len(y), p, free)


def _least_squares(n: Floats, d: Floats, y: Floats, whitening: Floats, start: Floats | None) -> Floats:
    """Bounded least squares; without a start, the best of four: an exponent and its term compensate each other."""
    from scipy.optimize import least_squares

    spread = float(np.ptp(y))
    low = np.array([-np.inf, 0.0, 0.0, EXPONENTS[0], EXPONENTS[0]])
    high = np.array([np.inf, np.inf, np.inf, EXPONENTS[1], EXPONENTS[1]])
    exponents = [(alpha, beta) for alpha in (0.2, 1.0) for beta in (0.2, 1.0)]
    starts = [start] if start is not None else [np.array([y.min() - spread, spread, spread, *two]) for two in exponents]

    def residuals(parameters: Floats) -> Floats:
        return np.asarray(whitening @ (y - predicted(n, d, parameters)))

    def slopes(parameters: Floats) -> Floats:
        _, a, b, alpha, beta = parameters
        of_size, of_captions = n**-alpha, d**-beta
        columns = [np.ones_like(n), of_size, of_captions, -a * of_size * np.log(n), -b * of_captions * np.log(d)]
        return np.asarray(-whitening @ np.stack(columns, axis=1))

    results = [
        least_squares(residuals, np.clip(one, low + 1e-9, high - 1e-9), slopes, bounds=(low, high), max_nfev=100)
        for one in starts
    ]
    return np.asarray(min(results, key=lambda result: float(result.cost)).x, dtype=np.float64)
