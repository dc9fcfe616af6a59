"""Means over seeds and differences between arms, with intervals over videos and training seeds.

All numbers of the report follow one rule, for any metric with one value per item: answers of questions (1 or 0), the
likelihood of an answer, the loss of a caption. A run's score is the mean over its items with a value, as in the
official scorer. An item contributes `(value - mean) / items` to the error of the mean, a missing item contributes 0.

- Difficulty: both arms of a difference saw the same items and are compared seed by seed, over the seeds that both have.
  What the items and the seeds share cancels.
- Videos: contributions are summed per video, because the items of one video are not independent.
- Seeds: training the same arm again gives another score, by more than single items explain. This variance is estimated
  from all arms of the study together (`SeedNoise`), since three seeds of two arms alone hardly determine it.

`benchmarks/statistics` measures how often the intervals contain the true difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg.report.numbers.statistics import LEVEL

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENOUGH_DF = 3
"""From this many degrees of freedom of the seeds, the sum of both variances covers 93 to 95 %; below, it covers less
where seeds dominate, and the wider of two intervals is taken."""

NO_VARIANCE = 1e-20
"""A smaller variance is a rounding error. One answer of a million questions contributes 1e-12."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, standard error and p of "it is 0"; percent or points, or the unit of the metric.

    Attributes:
        low, high, standard_error: NaN if the data carry no interval: one video only, or no variance between videos.
        df: degrees of freedom of the t distribution behind interval and p; None for the normal distribution.
        seeds: the training seeds that the value is a mean over.
        covers_seeds: whether the interval covers training again with other seeds, or only other videos.
    """

    value: float
    low: float
    high: float
    standard_error: float
    p: float | None = None
    df: float | None = None
    seeds: list[int] = field(default_factory=list)
    covers_seeds: bool = False

    @property
    def is_positive(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low > 0

    @property
    def is_negative(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high < 0

    @property
    def has_interval(self) -> bool:
        """False if the data carry no interval."""
        return bool(np.isfinite(self.standard_error))

    @property
    def largest_size(self) -> float:
        """The bound of an equivalence test at 5 %: the true value is within ± this (the ends of the 90 % interval)."""
        return abs(self.value) + _quantile(0.95, self.df) * self.standard_error

    def p_against(self, value: float) -> float | None:
        """Return p of "the true value is `value`"; None without an interval."""
        return 2 * self._tail(abs(self.value - value)) if self.has_interval else None

    def p_beyond(self, bound: float) -> float | None:
        """Return p of "the true value is not within ± `bound`" (two one-sided tests); None without an interval."""
        return self._tail(bound - abs(self.value)) if self.has_interval else None

    def _tail(self, size: float) -> float:
        from scipy.special import ndtr, stdtr  # `scipy.stats` takes a second of CPU time to import

        errors = size / self.standard_error
        return float(ndtr(-errors) if self.df is None else stdtr(self.df, -errors))

    @property
    def detectable(self) -> float:
        """The smallest true value that 80 % of such studies find, at two-sided 5 %."""
        return (_quantile((1 + LEVEL) / 2, self.df) + _quantile(0.8, self.df)) * self.standard_error


def _quantile(share: float, df: float | None) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(share) if df is None else stdtrit(df, share))


@dataclass(frozen=True, slots=True)
class ArmScore:
    """The scores of an arm, one per seed, and what each item contributes to their errors.

    Attributes:
        seeds: the seeds [s].
        means: [s] mean over items per seed; fractions for answers.
        influence: [s, n] contribution of each item to the error of each mean.
        videos: [n] number of each item's video.
        unit: factor from means to the numbers that are shown: 100 for percent, 1 for a loss.
    """

    seeds: tuple[int, ...]
    means: Floats
    influence: Floats
    videos: Ints
    unit: float = 100.0

    @property
    def value(self) -> float:
        """The mean over seeds, as it is shown."""
        return self.unit * float(self.means.mean())

    def over(self, seeds: Sequence[int]) -> ArmScore:
        """The same arm with these of its seeds only."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return ArmScore(tuple(seeds), self.means[rows], self.influence[rows], self.videos, self.unit)


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """Variance of one run's score that is its own: neither its arm's, nor its seed's in all arms.

    Attributes:
        mean_square: the whole of it.
        excess: the part that the choice of items does not explain, the arm-by-seed noise of training. Unbiased, and
            therefore negative by chance where there is none.
        df: degrees of freedom, (arms - 1) * (seeds - 1) if every arm has every seed.
    """

    mean_square: float
    excess: float
    df: int


def arm_score(values: Floats, videos: Ints, seeds: Sequence[int] | None = None, unit: float = 100.0) -> ArmScore | None:
    """Score `values` [s, n] (NaN = missing) of `seeds` (default 0, 1, ...); None if a seed has no value at all."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    if values.size == 0 or (counts == 0).any():
        return None
    # The mean is a ratio, sum(values) / sum(known). Its first-order error is the sum of (value - mean) / known over the
    # known items. It is 0 for a missing one, which has left both sums.
    filled = np.where(known, values, 0.0)
    means = filled.sum(axis=1) / counts
    influence = np.where(known, filled - means[:, None], 0.0) / counts[:, None]
    return ArmScore(tuple(seeds) if seeds is not None else tuple(range(len(values))), means, influence, videos, unit)


def accuracy(arm: ArmScore) -> Estimate:
    """Return the mean over the arm's seeds with its interval over videos; the seeds are not covered."""
    sums = _per_video(arm.influence.mean(axis=0), arm.videos)
    return _estimate(arm, float(arm.means.mean()), [(float(_variance(sums)), len(sums) - 1)], None)


def difference(arm: ArmScore, other: ArmScore, noise: SeedNoise | None = None) -> Estimate | None:
    """Return `arm` minus `other` over the seeds that both have; None if they share none.

    Args:
        noise: the seed noise of the study. By default it is estimated from the two arms, which takes two shared seeds;
            without any, the interval covers videos only.
    """
    shared = [seed for seed in arm.seeds if seed in other.seeds]
    if not shared:
        return None
    arm, other = arm.over(shared), other.over(shared)
    sums = _per_video((arm.influence - other.influence).mean(axis=0), arm.videos)
    value = float((arm.means - other.means).mean())
    by_videos = float(_variance(sums)), float(len(sums) - 1)
    noise = noise or seed_noise([arm, other])
    candidates = [by_videos]
    if noise is not None and by_videos[0] > NO_VARIANCE:
        candidates = interval_candidates(*by_videos, noise, 2 / len(shared))
    return _estimate(arm, value, candidates, noise, test=True)


def interval_candidates(videos: float, videos_df: float, noise: SeedNoise, share: float) -> list[tuple[float, float]]:
    """Candidates (variance, degrees of freedom) for an interval over videos and seeds; the widest one is taken.

    `videos` is the variance over videos of the mean over seeds, which includes the noise of single items of each seed.
    The excess of the seeds adds to it; Satterthwaite's degrees of freedom belong to the sum. Where the seeds have few
    degrees of freedom, the sum is too small by chance too often: then the interval is the wider one of that over videos
    and that over seeds, if seeds show any excess (with one degree of freedom, this says nothing, and both are taken).
    """
    seeds = share * noise.mean_square
    if noise.df < ENOUGH_DF:
        over_seeds = [(seeds, float(noise.df))] if noise.excess > 0 or noise.df == 1 else []
        return [(videos, videos_df), *over_seeds]
    both = max(videos + share * noise.excess, videos / 4)
    df = both**2 / (videos**2 / videos_df + seeds**2 / noise.df) if both > 0 else videos_df
    # Of two nearly equal arms, the excess may be most of the sum and far smaller than the noise that it was taken from.
    # Then the formula falls towards 0, where a quantile has no bound. No variance is estimated from less than one.
    return [(both, max(df, 1.0))]


def half_widths(studies: Sequence[Sequence[tuple[float, float]]]) -> Floats:
    """Return the half width of the interval of each study, from its candidates (variance, degrees of freedom)."""
    from scipy.special import stdtrit

    variances, df = np.array([candidate for candidates in studies for candidate in candidates]).T
    starts = np.cumsum([0, *(len(candidates) for candidates in studies[:-1])])
    return np.asarray(np.maximum.reduceat(stdtrit(df, (1 + LEVEL) / 2) * np.sqrt(variances), starts))


def item_noise(arm: ArmScore, other: ArmScore) -> tuple[float, float]:
    """Return the variance over videos of `arm` minus `other`: of the mean over seeds, and of what is one seed's own.

    Both arms have the same seeds; with a single one, the second number is NaN.
    """
    gaps = arm.influence - other.influence
    sums = _per_video(gaps - gaps.mean(axis=0), arm.videos)
    both = _per_video(gaps.mean(axis=0), arm.videos)
    own = float(_variance(sums).sum()) / (len(gaps) - 1) if len(gaps) > 1 else np.nan
    return float(_variance(both)), own


def seed_noise(arms: Sequence[ArmScore]) -> SeedNoise | None:
    """Estimate the noise of training seeds from the runs of `arms`, which saw the same items; None if nothing repeats.

    The scores of all runs are fitted by one effect per arm plus one per seed. The residuals are the noise of single
    runs. The same residuals of the items' contributions say how much of it the choice of items explains.
    """
    runs = [(place, seed) for place, arm in enumerate(arms) for seed in arm.seeds]
    seeds = sorted({seed for _, seed in runs})
    effects = np.zeros((len(runs), len(arms) + len(seeds)))
    for row, (place, seed) in enumerate(runs):
        effects[row, place] = effects[row, len(arms) + seeds.index(seed)] = 1.0
    df = len(runs) - int(np.linalg.matrix_rank(effects)) if runs else 0
    if df == 0:
        return None
    rest = np.eye(len(runs)) - effects @ np.linalg.pinv(effects)
    scores = rest @ np.concatenate([arm.means for arm in arms])
    items = rest @ np.concatenate([arm.influence for arm in arms])
    explained = float(_variance(_per_video(items, arms[0].videos)).sum())
    total = float((scores**2).sum())
    return SeedNoise(total / df, (total - explained) / df, df)


def covariance(arms: Sequence[ArmScore], noise: SeedNoise | None) -> tuple[Floats, float]:
    """Return the covariance of the arms' means [k, k] (arms have the same seeds) and its degrees of freedom."""
    sums = _per_video(np.stack([arm.influence.mean(axis=0) for arm in arms]), arms[0].videos)
    clusters = sums.shape[1]
    matrix = np.asarray(sums @ sums.T * clusters / max(clusters - 1, 1))
    if noise is None:
        return matrix, float(clusters - 1)
    seeds = len(arms[0].seeds)
    extra = max(noise.excess, 0.0) / seeds
    videos = float(np.trace(matrix)) / len(arms)
    df = (videos + extra) ** 2 / (videos**2 / max(clusters - 1, 1) + (noise.mean_square / seeds) ** 2 / noise.df)
    return matrix + extra * np.eye(len(arms)), df


def same_seeds(arms: Sequence[ArmScore]) -> list[ArmScore]:
    """The arms with the seeds that all of them have; empty if there are none."""
    shared = [seed for seed in arms[0].seeds if all(seed in arm.seeds for arm in arms)] if arms else []
    return [arm.over(shared) for arm in arms] if shared else []


def joint_p(arms: Sequence[ArmScore], noise: SeedNoise | None = None) -> float | None:
    """Return p of "all arms have the same mean" over the seeds that all have; None for fewer than two arms.

    A Wald test on k - 1 contrasts of k arms (Hotelling's T²). None also if there are too few videos or seeds.
    """
    from scipy.special import fdtrc

    arms = same_seeds(arms)
    if len(arms) < 2:
        return None
    matrix, df = covariance(arms, noise)
    # Any set of k - 1 contrasts has the same statistic.
    contrasts = np.hstack([-np.ones((len(arms) - 1, 1)), np.eye(len(arms) - 1)])
    gaps = contrasts @ np.array([arm.means.mean() for arm in arms])
    freedom = df - len(gaps) + 1
    if freedom <= 1:
        return None
    # Two arms with equal answers make the matrix singular, hence the pseudo-inverse.
    statistic = float(gaps @ np.linalg.pinv(contrasts @ matrix @ contrasts.T) @ gaps)
    # T² on few degrees of freedom follows F after this scaling; chi-squared would reject too often.
    return float(fdtrc(len(gaps), freedom, statistic * freedom / (len(gaps) * df)))


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation over seeds (denominator n - 1); None for fewer than two seeds."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _per_video(influence: Floats, videos: Ints) -> Floats:
    """Sums of `influence` [..., n] per video that occurs, [..., videos]."""
    order = np.argsort(videos, kind="stable")
    starts = np.flatnonzero(np.diff(videos[order], prepend=videos[order[0]] - 1))
    return np.asarray(np.add.reduceat(influence[..., order], starts, axis=-1))


def _variance(sums: Floats) -> Any:
    """The variance of means from the contributions of their videos [..., videos]; 0 for one video: it is unknown."""
    clusters = sums.shape[-1]
    return (sums**2).sum(axis=-1) * clusters / (clusters - 1) if clusters > 1 else np.zeros(sums.shape[:-1])


def _estimate(
    arm: ArmScore, value: float, candidates: Sequence[tuple[float, float]], noise: SeedNoise | None, test: bool = False
) -> Estimate:
    """The estimate with the widest of the intervals of `candidates` (variance, degrees of freedom)."""
    from scipy.special import stdtr

    seeds, unit = list(arm.seeds), arm.unit
    # No variance between videos: one video, or the same value in every video. Such data say nothing about other videos,
    # so there is no interval, rather than one of width 0.
    if candidates[0][0] <= NO_VARIANCE:
        return Estimate(unit * value, math.nan, math.nan, math.nan, None, None, seeds)
    half, error, df = max(
        (_quantile((1 + LEVEL) / 2, df) * variance**0.5, variance**0.5, df) for variance, df in candidates
    )
    p = float(2 * stdtr(df, -abs(value) / error)) if test else None
    return Estimate(
        unit * value, unit * (value - half), unit * (value + half), unit * error, p, df, seeds, noise is not None
    )
