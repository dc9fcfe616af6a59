"""What a point of caption precision is worth: the number of captions that has the same effect at equal steps.

The studies of a ladder that differ in their captioner are compared on the arms with the steps of the largest scale:
score = c + a * precision + b * log2(captions), by ordinary least squares. A point of precision then has the effect of
a / b doublings. The interval is a parametric bootstrap of the arms' means, with their covariance over videos, and over
training seeds where there are several.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from sg.artefacts.arms import EQUAL_STEPS
from sg.artefacts.captions import read_captions
from sg.artefacts.judged import judged_path, read_scores
from sg.report.ladder.law import joint_errors
from sg.report.ladder.studies import METRICS, Ladder, Member
from sg.report.numbers.estimates import Estimate, Floats, same_seeds
from sg.report.numbers.study import Arm

RESAMPLES = 2000
_JUDGE = "facts"
FEWEST = 2
"""Fewest precisions, and fewest numbers of captions."""


@dataclass(frozen=True, slots=True)
class Worth:
    """The worth of a point of precision in one metric.

    Attributes:
        per_point: change of the metric by one point of precision.
        per_doubling: change of the metric by twice as many captions.
        more_captions: percent more captions with the effect of one point; None if the effect of more captions is not
            resolved, so that their ratio means nothing.
        precisions: mean precision in percent by choice.
        usd_per_thousand: mean cost of 1,000 of the captions; 0 if they cost nothing.
        covers_seeds: whether the intervals cover training again.
    """

    metric: str
    per_point: Estimate
    per_doubling: Estimate
    more_captions: Estimate | None
    precisions: dict[str, float]
    usd_per_thousand: float
    covers_seeds: bool


def worth_of_precision(ladder: Ladder) -> list[Worth]:
    """The worth in every metric; empty without judged captions of several precisions and scales."""
    known = {member.choice: precision for member in ladder.members if (precision := _precision(member)) is not None}
    members = [member for member in ladder.members if member.choice in known]
    if len(set(known.values())) < FEWEST or len({member.model for member in members}) != 1:
        return []
    usd = fmean(_usd_per_thousand(member) for member in members)
    found = []
    for metric in METRICS:
        arms = [
            (member, arm)
            for member in members
            for arm in _at_equal_steps(member)
            if metric in member.scores and arm.name in member.scores[metric].by_name
        ]
        samples = same_seeds([member.scores[metric].by_name[arm.name] for member, arm in arms])
        if not samples or len({arm.scale for _, arm in arms}) < FEWEST or len(arms) < 4:
            continue
        noises = [member.scores[metric].noise for member, _ in arms]
        errors, df = joint_errors(samples, noises)
        if metric in METRICS and samples[0].unit != 1:
            errors = errors * samples[0].unit ** 2
        x = np.array([[1.0, known[member.choice], np.log2(arm.num_captions)] for member, arm in arms])
        y = np.array([sample.value for sample in samples])
        point, doubling, more = _fit(x, y, errors, df)
        found.append(Worth(metric, point, doubling, more, known, usd, None not in noises))
    return found


def _at_equal_steps(member: Member) -> list[Arm]:
    """The arm of the largest scale, and the smaller ones that were repeated to its steps."""
    largest = max((arm for arm in member.study.finished if arm.scale), key=lambda arm: arm.scale, default=None)
    repeated = [arm for arm in member.study.controls if arm.control == EQUAL_STEPS and arm.runs]
    return [] if largest is None else [largest, *repeated]


def _fit(x: Floats, y: Floats, errors: Floats, df: float) -> tuple[Estimate, Estimate, Estimate | None]:
    """The slopes of precision and doublings, and the percent more captions that a point of precision stands for."""
    solve = np.linalg.pinv(x)
    root = np.linalg.cholesky(errors + 1e-12 * np.trace(errors) * np.eye(len(y)))
    generator = np.random.default_rng(0)
    noise = root @ generator.standard_normal((len(y), RESAMPLES)) * np.sqrt(df / generator.chisquare(df, RESAMPLES))
    best, draws = solve @ y, solve @ ((x @ (solve @ y))[:, None] + noise)
    slopes = [_estimate(best[column], draws[column]) for column in (1, 2)]
    if not (slopes[1].is_positive or slopes[1].is_negative):
        return slopes[0], slopes[1], None
    percent = _estimate(*(100 * (2.0 ** np.clip(s[1] / s[2], -50, 50) - 1) for s in (best, draws)))
    return slopes[0], slopes[1], percent


def _estimate(value: float, draws: Floats) -> Estimate:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high), float(draws.std(ddof=1)))


def _captions(member: Member) -> Path:
    return Path(member.study.runs[0].inputs.get("captions", ""))


def _precision(member: Member) -> float | None:
    """The mean precision of a study's captions in percent, if the facts have judged them."""
    path = judged_path(_captions(member), _JUDGE) if _captions(member).name else None
    return 100 * fmean(read_scores(path, "precision").values()) if path is not None and path.is_file() else None


def _usd_per_thousand(member: Member) -> float:
    path = _captions(member)
    return 1000 * fmean(row.cost_usd for row in read_captions(path).records()) if path.is_file() else 0.0
