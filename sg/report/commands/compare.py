"""`python -m sg.report compare A B [C ...]`: compare two or more files of answers to the same questions.

A file is of any kind that `python evaluate.py predictions=FILE` reads. All others are compared with the first.
Accuracies are official (correct / answered). McNemar's counts, the bootstrap and the joint test count an unanswered
question as wrong.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sg.artefacts.answer_files.look import read_answer_file
from sg.artefacts.answer_files.record import predictions_of
from sg.artefacts.predictions import PROBES, SETTINGS, Prediction, paired_outcomes
from sg.core.errors import DataError
from sg.report.commands.made import made_text
from sg.report.numbers.estimates import ArmScore, Estimate, Floats, Ints, accuracy, arm_score, difference, joint_p
from sg.report.numbers.statistics import (
    Interval,
    McNemar,
    bootstrap_over_videos,
    cochran_q,
    holm,
    mcnemar,
    minimum_detectable_effect,
    wilson_interval,
)
from sg.report.wording import NO_INTERVAL, SETTING_TITLES, accuracy_text, difference_text, p_text, percent, signed

RESAMPLES = 10_000
LISTED = 10
"""Number of left out questions that are named; all are counted."""


@dataclass(frozen=True, slots=True)
class Side:
    """One file in one setting, on the questions that all files contain: `correct` [n] is 1, 0 or NaN (unanswered)."""

    name: str
    rows: tuple[Prediction, ...]
    correct: Floats
    videos: Ints

    def score(self, duration: str | None = None) -> ArmScore | None:
        """The score on all questions or on one duration; None if no question was answered."""
        mask = np.array([duration in (None, row.duration) for row in self.rows])
        return arm_score(self.correct[None, mask], self.videos[mask])


@dataclass(frozen=True, slots=True)
class Comparison:
    """`new` minus `base` in one setting. `official` leaves unanswered questions out, `strict` counts them as wrong."""

    setting: str
    base: Side
    new: Side
    official: Estimate
    strict: Estimate
    bootstrap: Interval
    counts: McNemar


def compare_text(paths: Sequence[Path]) -> str:
    """Return the text that `compare` prints.

    Raises:
        MissingInputError, DataError: a file cannot be read, or the files have no setting or no question in common.
    """
    if len(paths) < 2:
        raise DataError(
            f"compare takes two or more files of answers, got {len(paths)}: python -m sg.report compare A.jsonl "
            "B.jsonl."
        )
    names = _short_names(paths)
    read = [read_answer_file(path) for path in paths]
    files = [found if isinstance(found, list) else predictions_of(found) for found in read]
    writers = [f"sg {found[0].code}".strip() if isinstance(found, list) else found.writer for found in read]
    blocks, comparisons = [], []
    for setting, groups in _by_setting(files, names):
        sides = _sides(names, groups)
        lacking = _lacking_text(names, groups)
        compared = [_comparison(setting, sides[0], side) for side in sides[1:]]
        comparisons += [] if setting in PROBES else compared
        blocks.append("\n".join([_title(setting, sides), *lacking, *map(_side_text, sides), *_joint_text(sides)]))
        blocks += ["\n".join(_comparison_text(comparison)) for comparison in compared]
    made = made_text(paths, writers, files)
    return (
        "\n\n".join([*blocks, *_family_text(comparisons), *_settings_text(files, names), *([made] if made else [])])
        + "\n"
    )


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that are all different."""
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{index + 1}: {path}" for index, path in enumerate(paths)]


def _by_setting(
    files: Sequence[Sequence[Prediction]], names: Sequence[str]
) -> list[tuple[str, list[list[Prediction]]]]:
    """The settings that all files contain, with their rows. If each file has one setting, these are compared."""
    present = [dict.fromkeys(row.setting for row in rows) for rows in files]
    shared = _ordered(set(present[0]).intersection(*present))
    if shared:
        return [(name, [[row for row in rows if row.setting == name] for rows in files]) for name in shared]
    if all(len(settings) == 1 for settings in present):
        return [(" | ".join(next(iter(settings)) for settings in present), [list(rows) for rows in files])]
    held = "; ".join(f"{name}: {', '.join(settings)}" for name, settings in zip(names, present, strict=True))
    raise DataError(
        f"The files share no setting ({held}): compare files with a common setting, or with one setting each."
    )


def _ordered(settings: Collection[str]) -> list[str]:
    """The settings of the benchmark first, then the probes, then other names."""
    known = [name for name in (*SETTINGS, *PROBES) if name in settings]
    return known + sorted(set(settings) - set(known))


def _sides(names: Sequence[str], groups: Sequence[Sequence[Prediction]]) -> list[Side]:
    """The files reduced to the questions that all of them contain, in the order of the first."""
    for group in groups[1:]:
        paired_outcomes(group, groups[0])  # raises for files of different benchmarks
    by_id = [{row.question_id: row for row in group} for group in groups]
    shared = [name for name in by_id[0] if all(name in rows for rows in by_id)]
    _, videos = np.unique([by_id[0][name].video_id for name in shared], return_inverse=True)
    sides = []
    for name, rows in zip(names, by_id, strict=True):
        chosen = tuple(rows[question] for question in shared)
        correct = np.array([float(row.is_correct) if row.is_answered else np.nan for row in chosen])
        sides.append(Side(name, chosen, correct, videos.astype(np.int64)))
    return sides


def _lacking_text(names: Sequence[str], groups: Sequence[Sequence[Prediction]]) -> list[str]:
    """For each file the questions of the others that it lacks: they are left out of the comparison."""
    ids = [dict.fromkeys(row.question_id for row in group) for group in groups]
    every = list(dict.fromkeys(question for questions in ids for question in questions))
    lines = []
    for name, held in zip(names, ids, strict=True):
        lacking = [question for question in every if question not in held]
        if lacking:
            shown = ", ".join(lacking[:LISTED]) + (", ..." if len(lacking) > LISTED else "")
            lines.append(
                f"  left out, because {name} lacks them: {len(lacking):,} of {len(every):,} questions ({shown})"
            )
    return lines


def _settings_text(files: Sequence[Sequence[Prediction]], names: Sequence[str]) -> list[str]:
    """The settings that some of the files lack; empty if there are none, or if files of one setting are compared."""
    present = [{row.setting for row in rows} for rows in files]
    shared = present[0].intersection(*present)
    if not shared:
        return []
    lines = []
    for setting in _ordered(present[0].union(*present) - shared):
        lacking = [name for name, settings in zip(names, present, strict=True) if setting not in settings]
        lines.append(f"not compared: {setting}, which {', '.join(lacking)} lacks")
    return ["\n".join(lines)] if lines else []


def _comparison(setting: str, base: Side, new: Side) -> Comparison:
    own, other = new.score(), base.score()
    if own is None or other is None:
        silent = new.name if own is None else base.name
        raise DataError(
            f"{silent} answers no question ({setting}), so there is nothing to compare: answer the benchmark again."
        )
    right, base_right = np.nan_to_num(new.correct), np.nan_to_num(base.correct)
    all_new, all_base = (arm_score(answers[None], base.videos) for answers in (right, base_right))
    assert all_new is not None and all_base is not None
    official, strict = difference(own, other), difference(all_new, all_base)
    assert official is not None and strict is not None  # each file is one run, so the two share their seed
    bootstrap = bootstrap_over_videos(right - base_right, base.videos, resamples=RESAMPLES)
    return Comparison(setting, base, new, official, strict, bootstrap, mcnemar(right, base_right, base.videos))


def _title(setting: str, sides: Sequence[Side]) -> str:
    rows = sides[0].rows
    title = SETTING_TITLES.get(setting, setting)
    return f"{title} ({len(rows):,} questions, {len(np.unique(sides[0].videos)):,} videos)"


def _side_text(side: Side) -> str:
    answered = int((~np.isnan(side.correct)).sum())
    right, total = int(np.nansum(side.correct)), len(side.correct)
    own = side.score()
    if own is None:
        return f"  {side.name}: no question answered"
    wilson = wilson_interval(right, answered)
    return (
        f"  {side.name}: {accuracy_text(accuracy(own))} % of {answered:,} answered questions "
        f"(95 % interval over videos), Wilson 95 % [{100 * wilson.low:.1f}, {100 * wilson.high:.1f}]; "
        f"{percent(100 * right / total)} % of all {total:,}"
    )


def _joint_text(sides: Sequence[Side]) -> list[str]:
    """The test that three or more files are equally accurate; empty for fewer."""
    samples = [own for side in sides if (own := side.score()) is not None]
    if len(sides) < 3 or len(samples) < len(sides):
        return []
    q = cochran_q(np.nan_to_num(np.stack([side.correct for side in sides], axis=1)))
    tests = f"{p_text(joint_p(samples))} (clustered by video), {p_text(q.p)} (Cochran's Q)"
    return [f"  test that all are equally accurate: {tests}"]


def _comparison_text(comparison: Comparison) -> list[str]:
    counts, strict = comparison.counts, comparison.strict
    smallest = minimum_detectable_effect(strict.standard_error) if strict.has_interval else None
    bootstrap = f"[{signed(100 * comparison.bootstrap.low)}, {signed(100 * comparison.bootstrap.high)}]"
    if not comparison.official.has_interval:
        bootstrap = NO_INTERVAL
    lines = [
        f"{comparison.new.name} minus {comparison.base.name}",
        f"  difference: {difference_text(comparison.official)} points, {p_text(comparison.official.p)} "
        "(95 % interval and p from t clustered by video, for these two runs: other training seeds are not covered); "
        f"with unanswered questions as wrong {signed(strict.value)} {bootstrap} "
        "(BCa bootstrap over videos)",
        f"  only {comparison.new.name} right: {counts.only_new} questions, only {comparison.base.name} right: "
        f"{counts.only_base}; they disagree on {100 * counts.discordance:.1f} % of the questions; McNemar exact "
        f"{p_text(counts.exact_p)}, mid-p {p_text(counts.mid_p)}, "
        f"clustered {p_text(counts.clustered_p)}",
    ]
    if smallest is not None:
        lines.append(f"  smallest true difference that 80 % of such comparisons would detect: {smallest:.1f} points")
    for duration in dict.fromkeys(row.duration for row in comparison.new.rows):
        own, other = comparison.new.score(duration), comparison.base.score(duration)
        gap = None if own is None or other is None else difference(own, other)
        if gap is not None:
            lines.append(f"  {duration} videos (exploratory): {difference_text(gap)} points")
    return lines


def _family_text(comparisons: Sequence[Comparison]) -> list[str]:
    """Holm's correction over all overall comparisons except those of probes; empty for fewer than two."""
    if len(comparisons) < 2:
        return []
    adjusted = holm([comparison.official.p or 0.0 for comparison in comparisons])
    lines = [f"p corrected for all {len(comparisons)} overall comparisons (Holm)"]
    for comparison, p in zip(comparisons, adjusted, strict=True):
        title = SETTING_TITLES.get(comparison.setting, comparison.setting).lower()
        lines.append(f"  {comparison.new.name}, {title}: {p_text(p)}")
    return ["\n".join(lines)]
