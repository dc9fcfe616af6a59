"""What the report compares beside its tables: controls, leak probes, paired counts, letters, fitted curves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sg.artefacts.answer_rules.calibration import calibration_of
from sg.artefacts.arms import ARM_KINDS, STEPS
from sg.artefacts.predictions import LEAK_PROBES, NO_VIDEO, OVERALL, WITHOUT_SUBTITLES
from sg.report.numbers.curve_fits import fit_curves
from sg.report.numbers.estimates import Floats, accuracy, covariance, difference, same_seeds
from sg.report.numbers.statistics import holm, mcnemar
from sg.report.numbers.study import Arm, ArmScores, Study
from sg.report.numbers.summary import CalibrationRow, ControlRow, LetterRow, PairRow, ProbeRow, Shape

ABOVE, BELOW, NOT_RESOLVED = "above", "below", "not resolved"
LEVEL = 0.05


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
    """Compare the accuracy of `control` with that of its headline arm; empty if one has no answers in the setting."""
    return control_row(study, control, setting, study.scores(setting, study.questions.mask(OVERALL)))


def control_row(study: Study, control: Arm, setting: str, scores: ArmScores) -> list[ControlRow]:
    """Compare `control` with its headline arm in a metric, named `setting`; empty if one of them has no score."""
    headline = partner(study, control)
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


def probe_rows(study: Study) -> list[ProbeRow]:
    """Compare the accuracy of every arm under every leak probe with guessing, the right video and the text alone."""
    rows = [row for probe in LEAK_PROBES for arm in study.finished if (row := _probe_row(study, arm, probe))]
    tested = [(place, p) for place, row in enumerate(rows) if (p := row.accuracy.p_against(row.chance)) is not None]
    for (place, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
        row = rows[place]
        apart = ABOVE if row.accuracy.value > row.chance else BELOW
        rows[place] = replace(row, p_holm=p, against_chance=apart if p < LEVEL else NOT_RESOLVED)
    return rows


def _probe_row(study: Study, arm: Arm, probe: str) -> ProbeRow | None:
    own, right, text = (study.score(arm, setting) for setting in (probe, WITHOUT_SUBTITLES, NO_VIDEO))
    if own is None:
        return None
    return ProbeRow(
        probe=probe,
        arm=arm.name,
        label=arm.label,
        seeds=len(own.seeds),
        accuracy=accuracy(own),
        chance=study.questions.chance,
        drop=None if right is None else difference(right, own),
        over_text=None if text is None or probe == NO_VIDEO else difference(own, text),
    )


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


def calibration_rows(arm: Arm) -> list[CalibrationRow]:
    """The calibration of an arm by setting, for its letters and its texts; empty without likelihoods."""
    return [
        CalibrationRow(setting, of, arm.name, arm.label, arm.control, found)
        for (setting, of), questions in sorted(arm.likely.items())
        if (found := calibration_of(questions)) is not None
    ]


def letter_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the share of each letter in % of all counted answers, in alphabetical order, "none" (no letter) last."""
    total = sum(counts.values())
    letters = sorted(counts, key=lambda letter: (letter == "", letter))
    return {str(letter) or "none": 100 * int(counts[letter]) / total for letter in letters}


def fit_shapes(points: Sequence[tuple[int, float]], errors: Floats) -> list[Shape]:
    """Fit a constant, a step and a saturating curve to (scale, mean) `points`, the best first.

    `errors` are standard errors [n] or a covariance [n, n], in the unit of the means. Empty for fewer than 4 points or
    without the baseline among them.
    """
    if len(points) < 4 or points[0][0] != 0:
        return []
    fits = fit_curves([scale for scale, _ in points], [mean for _, mean in points], errors)
    return [Shape(fit.name, dict(fit.parameters), fit.aic, fit.chi2, fit.degrees, fit.p) for fit in fits]


def study_shapes(study: Study, scores: ArmScores) -> list[Shape]:
    """Fit the curves to the headline arms, over the seeds that all of them have; empty if they carry no errors."""
    arms = [arm for arm in study.finished if arm.name in scores.by_name]
    samples = same_seeds([scores.by_name[arm.name] for arm in arms])
    if not samples:
        return []
    # The arms saw the same questions, so their errors are correlated. What they share moves all points alike.
    errors = samples[0].unit ** 2 * covariance(samples, scores.noise)[0]
    if np.linalg.eigvalsh(errors).min() <= 1e-9 * np.trace(errors):  # two arms with the same answers
        return []
    return fit_shapes([(arm.scale, sample.value) for arm, sample in zip(arms, samples, strict=True)], errors)
