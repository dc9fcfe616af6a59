"""What the report compares beside its tables: controls, leak probes, paired counts, letters, fitted curves."""

from collections.abc import Mapping, Sequence

import numpy as np

from sg.artefacts.arms import ARM_KINDS, STEPS
from sg.artefacts.predictions import OVERALL, WITHOUT_SUBTITLES
from sg.report.numbers.curve_fits import fit_curves
from sg.report.numbers.estimates import accuracy, difference
from sg.report.numbers.statistics import mcnemar
from sg.report.numbers.study import Arm, Study
from sg.report.numbers.summary import ControlRow, LetterRow, PairRow, ProbeRow, Shape, TableRow

PROBE_TOLERANCE = 4.0
"""A probe counts as at chance within this many points of it (`docs/reference/demo_world.md`, section 8, point 4)."""


def partner(study: Study, control: Arm) -> Arm | None:
    """Return the headline arm that a control is compared with; None if it did not finish.

    A control with as many captions as its core is compared with that core. An equal-step control is compared with the
    larger arm whose number of caption steps is nearest; equal distances and unknown steps go to the larger scale.
    """
    trained = [arm for arm in study.finished if arm.scale > 0]
    if ARM_KINDS[control.control or ""].fixed != STEPS:
        return next((arm for arm in trained if arm.scale == control.scale), None)
    larger = [arm for arm in trained if arm.scale > control.scale]
    # The control was planned for the steps of the largest scale, but that arm may have failed. Taking the nearest
    # number of steps still finds an arm that makes the comparison fair, or one that shows that there is none.
    steps = control.caption_steps
    if steps is None or any(arm.caption_steps is None for arm in larger):
        return larger[-1] if larger else None
    return min(larger, key=lambda arm: (abs((arm.caption_steps or 0) - steps), -arm.scale), default=None)


def compare_control(study: Study, control: Arm, setting: str) -> list[ControlRow]:
    """Compare `control` with its headline arm in one setting; empty if one of them has no answers in it."""
    headline = partner(study, control)
    scores = study.scores(setting, study.questions.mask(OVERALL))
    gap = None if headline is None else scores.difference(headline, control)
    if headline is None or gap is None:
        return []
    return [
        ControlRow(
            kind=control.control or "",
            setting=setting,
            control=control.name,
            headline=headline.name,
            control_label=control.label,
            headline_label=headline.scale_label,
            control_steps=control.caption_steps,
            headline_steps=headline.caption_steps,
            control_gain=scores.difference(control, study.baseline),
            headline_gain=scores.difference(headline, study.baseline),
            difference=gap,
        )
    ]


def probe_rows(study: Study, arm: Arm, probe: str) -> list[ProbeRow]:
    """Compare an arm's accuracy under a probe with chance and with the right video; empty if it was not probed."""
    own, right = study.score(arm, probe), study.score(arm, WITHOUT_SUBTITLES)
    if own is None:
        return []
    value = accuracy(own)
    chance = study.questions.chance
    at_chance = abs(value.value - chance) <= PROBE_TOLERANCE
    seeds = len(arm.correct[probe])
    drop = None if right is None else difference(right, own)
    return [ProbeRow(probe, arm.name, arm.label, seeds, value, chance, at_chance, drop)]


def count_pairs(study: Study, arm: Arm, setting: str) -> list[PairRow]:
    """Return McNemar's counts and tests per seed, for the seeds that the arm shares with the baseline."""
    base = study.baseline
    if base is None or arm.is_baseline or setting not in arm.correct or setting not in base.correct:
        return []
    # McNemar's test needs one right or wrong answer per question, so an unanswered question counts as wrong here.
    others = dict(zip(base.seeds[setting], np.nan_to_num(base.correct[setting]), strict=True))
    rows = []
    for seed, answers in zip(arm.seeds[setting], np.nan_to_num(arm.correct[setting]), strict=True):
        if seed in others:
            test = mcnemar(answers, others[seed], study.questions.videos)
            counts = test.only_new, test.only_base, test.discordance
            rows.append(PairRow(setting, arm.label, seed, *counts, test.exact_p, test.clustered_p))
    return rows


def count_letters(arm: Arm, setting: str) -> list[LetterRow]:
    """Count how often an arm answered each letter in a setting; empty if it has no answers in it."""
    counts = arm.letters.get(setting)
    return [LetterRow(setting, arm.name, arm.label, letter_shares(counts))] if counts else []


def letter_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the share of each letter in % of all counted answers, in alphabetical order, "none" (no letter) last."""
    total = sum(counts.values())
    letters = sorted(counts, key=lambda letter: (letter == "", letter))
    return {str(letter) or "none": 100 * int(counts[letter]) / total for letter in letters}


def fit_shapes(rows: Sequence[TableRow]) -> list[Shape]:
    """Fit a constant, a step and a saturating curve to the headline means, the best first; empty for fewer than 4
    points.

    The baseline must be among the points.
    """
    cells = [(row.scale, row.cells[OVERALL]) for row in rows if row.control is None]
    points = [(scale, cell.score) for scale, cell in cells if cell.score is not None]
    errors = [cell.delta.standard_error for _, cell in cells if cell.delta is not None]
    if len(points) < 4 or points[0][0] != 0 or not errors or min(errors) <= 0:
        return []
    # A curve depends on differences between its points. All points are scored on the same questions, so the difficulty
    # of the questions cancels in a difference. A difference has the errors of two points, hence the sqrt(2).
    error = float(np.median(errors)) / np.sqrt(2)
    fits = fit_curves(
        [scale for scale, _ in points], [score for _, score in points], [error] * len(points), resamples=2
    )
    return [Shape(fit.name, dict(fit.parameters), fit.aicc if np.isfinite(fit.aicc) else None) for fit in fits]
