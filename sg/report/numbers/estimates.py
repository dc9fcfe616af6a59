"""Accuracies and differences over seeds, with intervals clustered by video.

One rule serves everything the report prints. A run's accuracy is correct / answered (the official scorer's rule); a
question contributes `(correct - accuracy) / answered` to its error, an unanswered one nothing. These contributions are
averaged over the seeds of an arm, subtracted between two arms (the questions are the same, so shared difficulty
cancels), and summed per video: the three questions of one video are not independent. With every question answered this
is the clustered t of the per-question difference (`docs/reference/video_mme.md`, section 6, item 2).
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
    """A value in percent (or percentage points) with its 95 % interval, standard error and two-sided p of "it is 0"."""

    value: float
    low: float
    high: float
    standard_error: float
    p: float | None = None

    @property
    def is_positive(self) -> bool:
        """The whole interval lies above 0."""
        return self.low > 0

    @property
    def is_negative(self) -> bool:
        """The whole interval lies below 0."""
        return self.high < 0


@dataclass(frozen=True, slots=True)
class ArmScore:
    """The mean accuracy of an arm over its seeds and what each question contributes to its error.

    `influence` is [n] in accuracy units (not percent), `videos` [n] numbers the video of each question.
    """

    accuracy: float
    influence: Floats
    videos: Ints


def arm_score(correct: Floats, videos: Ints) -> ArmScore | None:
    """The arm with the answers `correct` [seeds, n] (1, 0, NaN = unanswered); None when a seed answered nothing."""
    answered = ~np.isnan(correct)
    counts = answered.sum(axis=1)
    if correct.size == 0 or (counts == 0).any():
        return None
    values = np.where(answered, correct, 0.0)
    accuracies = values.sum(axis=1) / counts
    residuals = np.where(answered, values - accuracies[:, None], 0.0) / counts[:, None]
    return ArmScore(float(accuracies.mean()), residuals.mean(axis=0), videos)


def accuracy(arm: ArmScore) -> Estimate:
    """Accuracy in percent with its clustered interval."""
    return _estimate(arm.accuracy, arm.influence, arm.videos)


def difference(arm: ArmScore, other: ArmScore) -> Estimate:
    """`arm` minus `other` in points, paired by question, with clustered interval and p."""
    return _estimate(arm.accuracy - other.accuracy, arm.influence - other.influence, arm.videos, test=True)


def joint_p(arms: Sequence[ArmScore]) -> float | None:
    """p of "all arms are equally accurate": a clustered Wald test (F with k-1 and videos-k+1 degrees of freedom)."""
    from scipy.stats import f

    if len(arms) < 2:
        return None
    first, rest = arms[0], arms[1:]
    gaps = np.array([arm.accuracy - first.accuracy for arm in rest])
    sums = np.stack([_per_video(arm.influence - first.influence, arm.videos) for arm in rest])
    clusters, contrasts = sums.shape[1], len(rest)
    if clusters <= contrasts + 1:
        return None
    covariance = sums @ sums.T * clusters / (clusters - 1)
    statistic = float(gaps @ np.linalg.pinv(covariance) @ gaps)
    freedom = clusters - contrasts
    return float(f.sf(statistic * freedom / (contrasts * (clusters - 1)), contrasts, freedom))


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds (n - 1); None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _per_video(influence: Floats, videos: Ints) -> Floats:
    """Sums of `influence` [n] per video [videos that occur]."""
    _, index = np.unique(videos, return_inverse=True)
    return np.bincount(index, weights=influence).astype(np.float64)


def _estimate(value: float, influence: Floats, videos: Ints, test: bool = False) -> Estimate:
    error = clustered_error(influence, videos)
    if np.isnan(error):
        return Estimate(100 * value, -100.0, 100.0, 100.0, 1.0 if test else None)  # one video tells nothing
    student = student_test(value, error, len(np.unique(videos)))
    low, high = student.interval.low, student.interval.high
    return Estimate(100 * value, 100 * low, 100 * high, 100 * error, student.p if test else None)
