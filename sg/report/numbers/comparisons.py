"""What is set beside the tables: controls, leak probes, paired counts, letters, fitted curves."""

from collections.abc import Mapping, Sequence

import numpy as np

from sg.artefacts.predictions import OVERALL, WITHOUT_SUBTITLES
from sg.report.numbers.controls import CAPTIONS, CONTROL_KINDS
from sg.report.numbers.curve_fits import fit_curves
from sg.report.numbers.estimates import ArmScore, Estimate, accuracy, difference
from sg.report.numbers.statistics import mcnemar
from sg.report.numbers.study import Arm, Study
from sg.report.numbers.summary import ControlRow, LetterRow, PairRow, ProbeRow, Shape, TableRow

PROBE_TOLERANCE = 4.0
"""A probe counts as at chance within this many points of it.

See `docs/reference/demo_world.md`, section 8, point 4.
"""


def partner(study: Study, control: Arm) -> Arm | None:
    """The headline arm that a control answers to.

    A random subset: the core of the same size. A repeated core: the arm with the nearest number of caption steps, which
    was meant to be the largest; ties and unknown steps go to the larger scale.
    """
    trained = [arm for arm in study.finished if arm.scale > 0]
    if CONTROL_KINDS[control.control or ""].fixed == CAPTIONS:
        return next((arm for arm in trained if arm.scale == control.scale), None)
    larger = [arm for arm in trained if arm.scale > control.scale]
    steps = control.caption_steps
    if steps is None or any(arm.caption_steps is None for arm in larger):
        return larger[-1] if larger else None
    return min(larger, key=lambda arm: (abs((arm.caption_steps or 0) - steps), -arm.scale), default=None)


def compare_control(study: Study, control: Arm, setting: str) -> list[ControlRow]:
    """`control` beside its headline arm in one setting; nothing when either was not asked in it."""
    headline = partner(study, control)
    own = study.score(control, setting)
    other = None if headline is None else study.score(headline, setting)
    if headline is None or own is None or other is None:
        return []
    base = None if study.baseline is None else study.score(study.baseline, setting)
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
            control_gain=_gap(own, base),
            headline_gain=_gap(other, base),
            difference=difference(other, own),
        )
    ]


def _gap(arm: ArmScore, base: ArmScore | None) -> Estimate | None:
    return None if base is None else difference(arm, base)


def probe_rows(study: Study, arm: Arm, probe: str) -> list[ProbeRow]:
    """An arm's accuracy under a probe, against chance and against the right video; nothing when it was not probed."""
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
    """McNemar's counts and tests, seed by seed, for the seeds that the arm shares with the baseline."""
    base = study.baseline
    if base is None or arm.is_baseline or setting not in arm.correct or setting not in base.correct:
        return []
    if len(arm.runs) != len(arm.correct[setting]) or len(base.runs) != len(base.correct[setting]):
        return []
    others = dict(zip((run.seed for run in base.runs), np.nan_to_num(base.correct[setting]), strict=True))
    rows = []
    for run, answers in zip(arm.runs, np.nan_to_num(arm.correct[setting]), strict=True):
        if run.seed in others:
            test = mcnemar(answers, others[run.seed], study.questions.videos)
            counts = test.only_new, test.only_base, test.discordance
            rows.append(PairRow(setting, arm.label, run.seed, *counts, test.exact_p, test.clustered_p))
    return rows


def count_letters(arm: Arm, setting: str) -> list[LetterRow]:
    """How an arm spread its answers over the letters in a setting; nothing when it was not asked in it."""
    counts = arm.letters.get(setting)
    return [LetterRow(setting, arm.name, arm.label, letter_shares(counts))] if counts else []


def letter_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Percent of each letter, "none" for no letter, in order of the alphabet."""
    total = sum(counts.values())
    letters = sorted(counts, key=lambda letter: (letter == "", letter))
    return {str(letter) or "none": 100 * int(counts[letter]) / total for letter in letters}


def fit_shapes(rows: Sequence[TableRow]) -> list[Shape]:
    """Constant, step and saturating curve through the headline means, the best first; needs the baseline and 4 points.

    A point's error is that of comparing points: a difference's divided by the root of two.
    """
    cells = [(row.scale, row.cells[OVERALL]) for row in rows if row.control is None]
    points = [(scale, cell.score) for scale, cell in cells if cell.score is not None]
    errors = [cell.delta.standard_error for _, cell in cells if cell.delta is not None]
    if len(points) < 4 or points[0][0] != 0 or not errors or min(errors) <= 0:
        return []
    error = float(np.median(errors)) / np.sqrt(2)
    fits = fit_curves(
        [scale for scale, _ in points], [score for _, score in points], [error] * len(points), resamples=2
    )
    return [Shape(fit.name, dict(fit.parameters), fit.aicc if np.isfinite(fit.aicc) else None) for fit in fits]
