"""Every number of a ladder: rows over model and captions, contrasts of each model, the joint law, decision accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from sg.core.scales import scale_label
from sg.report.ladder.decisions import DecisionRow, decision_row
from sg.report.ladder.law import JointLaw, fit_law, joint_errors, lacking_points
from sg.report.ladder.studies import METRICS, Ladder, Member
from sg.report.ladder.worth import Worth, worth_of_precision
from sg.report.numbers.estimates import ArmScore, Estimate, accuracy, difference, same_seeds, seed_noise
from sg.report.numbers.held_out import HELD_OUT
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import Arm, contrast_arms
from sg.report.wording import plural


@dataclass(frozen=True, slots=True)
class LadderRow:
    """One arm of one study: `values` by metric, and `deltas`, its differences from no captions with the same model."""

    model: str
    weights: int
    choice: str
    arm: str
    label: str
    scale: int
    control: str | None
    captions: int
    seeds: list[int]
    values: dict[str, Estimate]
    deltas: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class LadderContrast:
    """A difference in a metric, named by `what`; `p_holm` is corrected over all contrasts of the ladder."""

    what: str
    metric: str
    difference: Estimate
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class LadderLaw:
    """The joint law of the studies of one choice, or the reason why there is none."""

    choice: str
    law: JointLaw | None
    reason: str = ""
    covers_seeds: bool = False


@dataclass(frozen=True, slots=True)
class LadderSummary:
    """A ladder in numbers; `models` are weights by model."""

    benchmark: str
    studies: list[str]
    models: dict[str, int]
    rows: list[LadderRow]
    contrasts: list[LadderContrast]
    laws: list[LadderLaw]
    decisions: list[DecisionRow]
    worth: list[Worth] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def measure_ladder(ladder: Ladder) -> LadderSummary:
    """Compute every number of the ladder."""
    contrasts = [*_own_contrasts(ladder), *_gains_by_size(ladder)]
    several = len(ladder.models) > 1
    adjusted = iter(holm([row.difference.p for row in contrasts if row.difference.p is not None]))
    return LadderSummary(
        benchmark=ladder.members[0].study.benchmark,
        studies=[member.study.name for member in ladder.members],
        models=ladder.models,
        rows=[row for member in ladder.members for row in _rows(member)],
        contrasts=[row if row.difference.p is None else replace(row, p_holm=next(adjusted)) for row in contrasts],
        laws=[_law(ladder, choice) for choice in ladder.choices] if several else [],
        decisions=_decisions(ladder),
        worth=worth_of_precision(ladder),
        notes=ladder.notes,
    )


def _rows(member: Member) -> list[LadderRow]:
    study = member.study
    rows = []
    for arm in (*study.finished, *(arm for arm in study.controls if arm.runs)):
        own = {metric: scores for metric, scores in member.scores.items() if arm.name in scores.by_name}
        base = None if arm.is_baseline else study.baseline
        gaps = {metric: scores.difference(arm, base) for metric, scores in own.items()}
        rows.append(
            LadderRow(
                member.model, member.weights, member.choice, arm.name, arm.label, arm.scale, arm.control,
                arm.num_captions, [run.seed for run in arm.runs],
                {metric: accuracy(scores.by_name[arm.name]) for metric, scores in own.items()},
                {metric: gap for metric, gap in gaps.items() if gap is not None},
            )
        )  # fmt: skip
    return rows


def _own_contrasts(ladder: Ladder) -> list[LadderContrast]:
    """The planned contrasts of every study, between arms of its own model."""
    found = []
    for member in ladder.members:
        for one, other in contrast_arms(member.study).values():
            for metric, scores in member.scores.items():
                if (gap := scores.difference(one, other)) is not None:
                    found.append(LadderContrast(f"{member.label}: {one.label} minus {other.label}", metric, gap))
    return found


def _gains_by_size(ladder: Ladder) -> list[LadderContrast]:
    """Whether captions help the largest model more than the smallest: a difference of two differences per metric."""
    found = []
    for choice in ladder.choices:
        members = [member for member in ladder.members if member.choice == choice]
        small, large = members[0], members[-1]
        scales = {arm.scale for arm in small.study.finished} & {arm.scale for arm in large.study.finished} - {0}
        if small is large or not scales:
            continue
        what = f"{scale_label(max(scales))} minus no captions, {large.label} minus {small.label}"
        for metric in METRICS:
            gains = [_gain(member, metric, max(scales)) for member in (large, small)]
            gap = None if gains[0] is None or gains[1] is None else difference(gains[0], gains[1])
            found += [] if gap is None else [LadderContrast(what, metric, gap)]
    return found


def _gain(member: Member, metric: str, scale: int) -> ArmScore | None:
    """The arm of a scale minus the baseline, as a score of its own, over their shared seeds."""
    by_name = member.scores[metric].by_name if metric in member.scores else {}
    names = [arm.name for arm in member.study.finished if arm.scale in (0, scale) and arm.name in by_name]
    pair = same_seeds([by_name[name] for name in names]) if len(names) == 2 else []
    if not pair:
        return None
    base, one = pair
    return replace(one, means=one.means - base.means, influence=one.influence - base.influence)


def _law(ladder: Ladder, choice: str) -> LadderLaw:
    """Fit the law to all headline arms of a choice with captions; their noise of seeds is that of their own model."""
    arms = [
        (member, arm)
        for member in ladder.members
        for arm in member.study.finished
        if member.choice == choice
        and arm.scale > 0
        and HELD_OUT in member.scores
        and arm.name in member.scores[HELD_OUT].by_name
    ]
    sizes, captions = [float(member.weights) for member, _ in arms], [float(arm.num_captions) for _, arm in arms]
    # Scales are counted: their numbers of captions may differ a little between models.
    if reason := lacking_points(len(set(sizes)), len({arm.scale for _, arm in arms}), len(arms)):
        return LadderLaw(choice, None, reason)
    samples = same_seeds([member.scores[HELD_OUT].by_name[arm.name] for member, arm in arms])
    if not samples:
        return LadderLaw(choice, None, "its runs share no training seed")
    noises = [member.scores[HELD_OUT].noise for member, _ in arms]
    errors, df = joint_errors(samples, noises)
    if np.linalg.eigvalsh(errors).min() <= 1e-9 * np.trace(errors):
        captions_text = plural(samples[0].influence.shape[1], "held-out caption")
        return LadderLaw(choice, None, f"{captions_text} give {len(arms)} points no errors of their own")
    law = fit_law(sizes, captions, [sample.value for sample in samples], errors, df)
    return LadderLaw(choice, law, covers_seeds=None not in noises)


_Rung = tuple[int, int]
"""Weights and scale."""
_Arms = dict[str, tuple[Member, Arm]]
"""Choice -> its arm at a rung."""


def _decisions(ladder: Ladder) -> list[DecisionRow]:
    """Every smaller rung against the largest one at which three or more choices differ, in each metric.

    A small rung also picks by its held-out loss what the large one picks by accuracy.
    """
    rows = []
    for metric in METRICS:
        rungs = _rungs(ladder, metric)
        target = next((rung for rung in sorted(rungs, reverse=True) if _gaps(metric, list(rungs[rung].values()))), None)
        if target is None:
            continue
        for picked_by in dict.fromkeys((metric, HELD_OUT)):
            for rung, arms in sorted(_rungs(ladder, picked_by).items()):
                shared = [choice for choice in arms if choice in rungs[target]]
                means = _means(picked_by, [arms[choice] for choice in shared])
                gaps = _gaps(metric, [rungs[target][choice] for choice in shared])
                if rung < target and means and gaps:
                    small, large = _rung_name(arms), _rung_name(rungs[target])
                    rows.append(decision_row(picked_by, metric, small, large, means, gaps))
    return rows


def _rungs(ladder: Ladder, metric: str) -> dict[_Rung, _Arms]:
    rungs: dict[_Rung, _Arms] = {}
    for member in ladder.members:
        for arm in member.study.finished:
            if arm.scale > 0 and metric in member.scores and arm.name in member.scores[metric].by_name:
                rungs.setdefault((member.weights, arm.scale), {})[member.choice] = member, arm
    return rungs


def _rung_name(arms: _Arms) -> str:
    member, arm = next(iter(arms.values()))
    return f"{member.model} at {arm.scale_label}"


def _better(metric: str) -> float:
    """The sign of a better value."""
    return -1.0 if metric == HELD_OUT else 1.0


def _means(metric: str, arms: Sequence[tuple[Member, Arm]]) -> list[float]:
    """The mean of each arm over the seeds that all have, with the sign that makes larger better; empty without any."""
    samples = same_seeds([member.scores[metric].by_name[arm.name] for member, arm in arms])
    return [_better(metric) * sample.value for sample in samples]


def _gaps(metric: str, arms: Sequence[tuple[Member, Arm]]) -> dict[tuple[int, int], Estimate]:
    """The difference of every pair of arms, larger is better; empty for fewer than three, or if two are the same model.

    The noise of seeds is estimated from all arms of the two studies.
    """
    gaps = {}
    for (i, (one, first)), (j, (other, second)) in combinations(enumerate(arms), 2):
        found = [member.scores[metric].by_name for member in (one, other)]
        gap = difference(
            found[0][first.name], found[1][second.name], seed_noise([score for by in found for score in by.values()])
        )
        if gap is None or not gap.has_interval:
            return {}
        gaps[i, j] = replace(gap, value=_better(metric) * gap.value)
    return gaps if len(arms) > 2 else {}
