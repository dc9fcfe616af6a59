"""Uncertainty of scores and differences: confidence intervals, standard errors and tests, clustered by video.

The three questions about one video are not independent, so errors are clustered by video wherever that is possible
(`docs/reference/video_mme.md`, section 6). Accuracies and differences are fractions, not percent. Distributions and
tests come from scipy and statsmodels; only the clustered sums are computed here.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg.core.errors import DataError

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """The two ends of a confidence interval, as fractions."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """The 2x2 table of two models on the same questions, with tests that both are right equally often.

    `exact_p`, `mid_p` and `chi2_p` treat the questions as independent; `clustered_p` (Durkalski et al. 2003) is
    clustered by video.
    """

    both_right: int
    only_new: int
    only_base: int
    both_wrong: int
    discordance: float
    exact_p: float
    mid_p: float
    chi2: float
    chi2_p: float
    clustered_chi2: float
    clustered_p: float


@dataclass(frozen=True, slots=True)
class CochranQ:
    """Cochran's test that all runs are right equally often."""

    q: float
    degrees_of_freedom: int
    p: float


def wilson_interval(correct: int, questions: int, level: float = LEVEL) -> Interval:
    """Return Wilson's interval of the proportion `correct` / `questions`."""
    from scipy.special import ndtri

    if not 0 <= correct <= questions or questions == 0:
        raise DataError(
            f"{correct} of {questions} questions is not a proportion: expected at least one question and no more "
            "right answers than questions."
        )
    share, z = correct / questions, float(ndtri((1 + level) / 2))
    shrinkage = 1 + z**2 / questions
    middle = (share + z**2 / (2 * questions)) / shrinkage
    half = z / shrinkage * math.sqrt(share * (1 - share) / questions + (z / (2 * questions)) ** 2)
    return Interval(0.0 if correct == 0 else middle - half, 1.0 if correct == questions else middle + half)


def _as_floats(values: ArrayLike, videos: Sequence[str] | ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """The values [n] and the number of each value's video [n]."""
    array = np.asarray(values, dtype=np.float64)
    _, cluster = np.unique(np.asarray(videos), return_inverse=True)
    if array.ndim != 1 or array.shape != cluster.shape or len(array) == 0:
        raise DataError(f"Expected one value and one video per question, got shapes {array.shape} and {cluster.shape}.")
    return array, cluster


def bootstrap_over_videos(
    differences: ArrayLike, videos: Sequence[str] | ArrayLike, seed: int = 0, resamples: int = 10_000
) -> Interval:
    """BCa interval of the mean of per-question `differences` [n]; whole videos are resampled with replacement.

    The sum and the number of questions of each video are resampled together, because videos may have different numbers
    of questions and the mean is a ratio of the two. NaN for one video.
    """
    from scipy.stats import bootstrap

    values, cluster = _as_floats(differences, videos)
    sums, sizes = np.bincount(cluster, weights=values), np.bincount(cluster).astype(np.float64)
    centre = float(values.mean()) if len(sums) > 1 else math.nan
    if math.isnan(centre) or np.allclose(sums, centre * sizes, rtol=0, atol=1e-12):
        return Interval(centre, centre)  # every video contributes the same, as for two models with equal answers

    def mean(sums: Floats, sizes: Floats, axis: int) -> Floats:
        return np.asarray(sums.sum(axis=axis) / sizes.sum(axis=axis))

    result = bootstrap(
        (sums, sizes), mean, paired=True, vectorized=True, n_resamples=resamples, batch=500,
        confidence_level=LEVEL, method="BCa", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def mcnemar(new: ArrayLike, base: ArrayLike, videos: Sequence[str] | ArrayLike) -> McNemar:
    """Compare two models on the same questions: `new` and `base` [n] are 0 or 1 about `videos` [n].

    Test the seeds of a model one by one. They answer the same questions, so pooling them makes p far too small.

    Raises:
        DataError: a value is neither 0 nor 1, or the lengths differ.
    """
    from scipy.stats import binom, chi2
    from statsmodels.stats.contingency_tables import mcnemar as test

    new_right, cluster = _as_floats(new, videos)
    base_right, _ = _as_floats(base, videos)
    if not np.isin(new_right, (0, 1)).all() or not np.isin(base_right, (0, 1)).all():
        raise DataError(
            "McNemar's test takes answers that are right (1) or wrong (0), not means over seeds: test each seed by "
            "itself."
        )
    # One code per question: 0 both wrong, 1 only base right, 2 only new right, 3 both right.
    pairs = 2 * new_right + base_right
    both_wrong, only_base, only_new, both_right = (int((pairs == code).sum()) for code in range(4))
    table = [[both_right, only_new], [only_base, both_wrong]]
    discordant, fewer = only_new + only_base, min(only_new, only_base)
    exact = test(table, exact=True)
    # The exact test is conservative. Mid-p counts half of the probability of the observed table.
    mid_p = 2 * binom.cdf(fewer, discordant, 0.5) - binom.pmf(fewer, discordant, 0.5) if discordant else 1.0
    statistic = (only_new - only_base) ** 2 / discordant if discordant else 0.0
    # Durkalski's test: the net difference per video replaces the single question, so a video counts once.
    sums = np.bincount(cluster, weights=new_right - base_right)
    clustered = float(sums.sum() ** 2 / (sums**2).sum()) if (sums**2).sum() else 0.0
    return McNemar(
        both_right=both_right,
        only_new=only_new,
        only_base=only_base,
        both_wrong=both_wrong,
        discordance=discordant / len(pairs),
        exact_p=float(exact.pvalue),
        mid_p=min(1.0, float(mid_p)),
        chi2=statistic,
        chi2_p=float(chi2.sf(statistic, 1)),
        clustered_chi2=clustered,
        clustered_p=float(chi2.sf(clustered, 1)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's method for a planned family of comparisons, in the same order."""
    return list(_adjusted(tuple(p_values), "holm"))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the false discovery rate (Benjamini and Hochberg), in the same order."""
    return list(_adjusted(tuple(p_values), "fdr_bh"))


@functools.lru_cache(maxsize=64)  # statsmodels collects garbage at every call (20 to 200 ms)
def _adjusted(p_values: tuple[float, ...], method: str) -> tuple[float, ...]:
    from statsmodels.stats.multitest import multipletests

    return tuple(float(p) for p in multipletests(p_values, method=method)[1]) if p_values else ()


def cochran_q(correct: ArrayLike) -> CochranQ:
    """Return Cochran's Q of `correct` [questions, runs] (0 or 1); it treats the questions as independent."""
    from statsmodels.stats.contingency_tables import cochrans_q

    answers = np.asarray(correct, dtype=np.float64)
    if answers.ndim != 2 or answers.shape[1] < 2:
        raise DataError(f"Cochran's Q takes an array [questions, two or more runs], got shape {answers.shape}.")
    if (answers == answers[:, :1]).all():  # All runs agree: statsmodels would divide 0 by 0.
        return CochranQ(0.0, answers.shape[1] - 1, 1.0)
    result = cochrans_q(answers)
    return CochranQ(float(result.statistic), int(result.df), float(result.pvalue))


def paired_standard_error(discordance: float, questions: int, difference: float = 0.0) -> float:
    """Return the standard error of a `difference` in accuracy, as a fraction.

    `discordance` is the share of the questions of which exactly one of the two models is right. A question's difference
    is -1, 0 or 1, so its variance is that share minus the squared mean. Clustering by video is not included.
    """
    if not 0 <= discordance <= 1 or questions < 1:
        raise DataError(
            f"discordance={discordance} on {questions} questions: expected a share of 0 to 1 on 1 or more questions."
        )
    return math.sqrt(max(discordance - difference**2, 0.0) / questions)


def minimum_detectable_effect(standard_error: float, power: float = 0.8, level: float = LEVEL) -> float:
    """Return the smallest true difference that a two-sided test detects with probability `power`."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2) + ndtri(power)) * standard_error
