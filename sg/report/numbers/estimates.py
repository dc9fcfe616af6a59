"""Accuracies and differences over seeds, with intervals clustered by video.

All numbers of the report follow one rule. A run's accuracy is correct / answered, as in the official scorer. A question
contributes `(correct - accuracy) / answered` to the error of the accuracy, an unanswered question contributes 0. The
contributions are averaged over the seeds of an arm and subtracted between two arms: both answered the same questions,
so the difficulty that they share cancels. They are summed per video, because the three questions about one video are
not independent. If every question is answered, this equals the clustered t of the per-question difference
(`docs/reference/video_mme.md`, section 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sg.report.numbers.statistics import clustered_error, student_test

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value in percent or percentage points, its 95 % interval and standard error over videos, and p of "it is 0"."""

    value: float
    low: float
    high: float
    standard_error: float
    p: float | None = None

    @property
    def is_positive(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low > 0

    @property
    def is_negative(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high < 0


@dataclass(frozen=True, slots=True)
class ArmScore:
    """The mean accuracy of an arm over its seeds, and the contribution of each question to its error.

    `influence` [n] is a fraction, not percent (the influence function of the ratio estimator); `videos` [n] is the
    number of each question's video.
    """

    accuracy: float
    influence: Floats
    videos: Ints


def arm_score(correct: Floats, videos: Ints) -> ArmScore | None:
    """Score the answers `correct` [seeds, n] (1, 0, NaN = unanswered); None if a seed answered no question."""
    answered = ~np.isnan(correct)
    counts = answered.sum(axis=1)
    if correct.size == 0 or (counts == 0).any():
        return None
    # Accuracy is a ratio, sum(correct) / sum(answered). Its first-order error is the sum of (correct - accuracy) /
    # answered over the answered questions, which is 0 for an unanswered one: it has left both sums.
    values = np.where(answered, correct, 0.0)
    accuracies = values.sum(axis=1) / counts
    residuals = np.where(answered, values - accuracies[:, None], 0.0) / counts[:, None]
    return ArmScore(float(accuracies.mean()), residuals.mean(axis=0), videos)


def accuracy(arm: ArmScore) -> Estimate:
    """Return the accuracy in percent with its interval clustered by video."""
    return _estimate(arm.accuracy, arm.influence, arm.videos)


def difference(arm: ArmScore, other: ArmScore) -> Estimate:
    """Return `arm` minus `other` in points, paired by question, with interval and p clustered by video."""
    return _estimate(arm.accuracy - other.accuracy, arm.influence - other.influence, arm.videos, test=True)


def joint_p(arms: Sequence[ArmScore]) -> float | None:
    """Return p of "all arms are equally accurate"; None for fewer than two arms or too few videos.

    A Wald test clustered by video, with F on k - 1 and videos - k + 1 degrees of freedom for k arms.
    """
    from scipy.stats import f

    if len(arms) < 2:
        return None
    first, rest = arms[0], arms[1:]
    # Contrasts with the first arm: any set of k - 1 contrasts gives the same statistic.
    gaps = np.array([arm.accuracy - first.accuracy for arm in rest])
    sums = np.stack([_per_video(arm.influence - first.influence, arm.videos) for arm in rest])
    clusters, contrasts = sums.shape[1], len(rest)
    if clusters <= contrasts + 1:
        return None
    # The covariance of the contrasts is estimated from the sums per video, with the same G / (G - 1) as a single error.
    # Two arms with equal answers make it singular, hence the pseudo-inverse.
    covariance = sums @ sums.T * clusters / (clusters - 1)
    statistic = float(gaps @ np.linalg.pinv(covariance) @ gaps)
    # Hotelling's T² with G - 1 degrees of freedom follows F after this scaling; chi-squared would reject too often for
    # few videos.
    freedom = clusters - contrasts
    return float(f.sf(statistic * freedom / (contrasts * (clusters - 1)), contrasts, freedom))


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation over seeds (denominator n - 1); None for fewer than two seeds."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _per_video(influence: Floats, videos: Ints) -> Floats:
    """Sums of `influence` [n] per video that occurs."""
    _, index = np.unique(videos, return_inverse=True)
    return np.bincount(index, weights=influence).astype(np.float64)


def _estimate(value: float, influence: Floats, videos: Ints, test: bool = False) -> Estimate:
    error = clustered_error(influence, videos)
    if np.isnan(error):  # One video: the variance between videos is unknown, so nothing is excluded.
        return Estimate(100 * value, -100.0, 100.0, 100.0, 1.0 if test else None)
    student = student_test(value, error, len(np.unique(videos)))
    low, high = student.interval.low, student.interval.high
    return Estimate(100 * value, 100 * low, 100 * high, 100 * error, student.p if test else None)
