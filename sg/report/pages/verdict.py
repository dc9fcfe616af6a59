"""The verdict of a study: what the intervals support in each setting, and what its arms attribute it to."""

from collections.abc import Sequence

from sg.artefacts.arms import ARM_KINDS, CAPTIONS, EQUAL_STEPS, SHUFFLED_CAPTIONS, STEPS
from sg.artefacts.predictions import OVERALL
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.statistics import holm
from sg.report.numbers.summary import ControlRow, LossRow, LossTable, Summary, Table, TableRow, headline_rows
from sg.report.wording import (
    SETTING_TITLES,
    captions_text,
    covered_text,
    difference_text,
    joined,
    once_text,
    p_text,
    size_text,
)

LEVEL = 0.05
STEPS_ALIKE = 0.1
"""Two arms have equal steps if their numbers of steps differ by at most this share of the larger number."""

GAIN, UNCLEAR, LOSS = "gain", "unclear", "loss"
HIGHER, LOWER, EQUIVALENT, OPEN = "higher", "lower", "equivalent", "open"


def outcome(estimate: Estimate | None, p: float | None, p_beyond: float | None) -> str:
    """Return what an estimate shows: a difference, none beyond the bound of equivalence, or neither.

    Args:
        p, p_beyond: of "the true value is 0" and of "it is not within the bound", corrected where several are tested.
    """
    if estimate is None or not estimate.has_interval:
        return OPEN
    if p is not None and p < LEVEL and excludes_zero(estimate):
        return HIGHER if estimate.is_positive else LOWER
    return EQUIVALENT if p_beyond is not None and p_beyond < LEVEL else OPEN


def row_outcome(row: TableRow, summary: Summary) -> str:
    """Return what the difference of a scale from no captions shows."""
    cell = row.cells[OVERALL]
    return outcome(cell.delta, cell.p_holm, _p_beyond(cell.delta, summary))


def control_outcome(row: ControlRow, summary: Summary) -> str:
    """Return what the difference of a control shows."""
    p = row.p_holm if row.p_holm is not None else row.difference.p
    return outcome(row.difference, p, _p_beyond(row.difference, summary))


def _p_beyond(estimate: Estimate | None, summary: Summary) -> float | None:
    """p of the equivalence test of a planned difference after Holm's correction; None if it has none.

    The family has the members of that of the differences: every headline scale against no captions and every control,
    in every setting. Each of the two kinds of claims has an error rate of 5 % per study.
    """
    cells = [row.cells[OVERALL].delta for table in summary.tables for row in headline_rows(table)]
    family = [one for one in (*cells, *(row.difference for row in summary.controls)) if one and one.has_interval]
    adjusted = holm([one.p_beyond(summary.equivalence) or 0.0 for one in family])
    return next((p for one, p in zip(family, adjusted, strict=True) if one is estimate), None)


def meaning(row: ControlRow, summary: Summary) -> str:
    """Return in words what the difference of a control shows, with the bound of every "no difference"."""
    if not is_fair(row):
        return "the steps differ, so the effects of captions and of steps are not separated"
    asks = ARM_KINDS[row.kind].asks
    found = control_outcome(row, summary)
    if found in (HIGHER, LOWER):
        where = "at equal steps, " if ARM_KINDS[row.kind].fixed == STEPS else ""
        return f"{where}{asks} {'raise' if found == HIGHER else 'lower'} accuracy{once_text(row.difference)}"
    if found == EQUIVALENT:
        return f"{equivalent_text(summary)}, so the effect of {asks} is smaller than that"
    if not row.difference.has_interval:
        return "the answers carry no interval"
    # The interval alone, which is not corrected, may say that it is resolved.
    holm = f" after Holm's correction ({p_text(row.p_holm)})" if excludes_zero(row.difference) else ""
    return f"an effect of {asks} is neither resolved nor excluded{holm}; {bound_text(row.difference)}"


def excludes_zero(estimate: Estimate) -> bool:
    """Whether the interval lies on one side of 0."""
    return estimate.is_positive or estimate.is_negative


def bound_text(estimate: Estimate) -> str:
    """`the true difference is within ±2.4 points by an uncorrected equivalence test at 5 %`."""
    return (
        f"the true difference is within ±{estimate.largest_size:.1f} points by an uncorrected equivalence test at 5 %"
    )


def equivalent_text(summary: Summary) -> str:
    """`equivalent within ±1 point after Holm`."""
    return f"{within_text(summary.equivalence)} after Holm"


def within_text(bound: float) -> str:
    """`equivalent within ±1 point`."""
    return f"equivalent within ±{bound:g} point{'' if bound == 1 else 's'}"


def is_fair(row: ControlRow) -> bool:
    """Whether a control that holds the steps fixed did take the steps of its headline arm; True for other controls."""
    return ARM_KINDS[row.kind].fixed != STEPS or _has_equal_steps(row)


def in_setting(setting: str) -> str:
    """`without subtitles`."""
    return SETTING_TITLES[setting].lower()


def largest_rows(summary: Summary) -> list[tuple[Table, TableRow, Estimate]]:
    """Return the largest scale that differs from no captions in any setting, in each setting that it was asked in."""
    found = [
        (table, row, delta)
        for table in summary.tables
        for row in headline_rows(table)
        if row.scale > 0 and (delta := row.cells[OVERALL].delta) is not None
    ]
    largest = max((row.scale for _, row, _ in found), default=0)
    return [item for item in found if item[1].scale == largest]


def trained_once(found: Sequence[tuple[Table, TableRow, Estimate]]) -> bool:
    """Whether the rows have one seed each, so that an interval does not cover training again."""
    return all(len(row.seeds) < 2 for _, row, _ in found) and not all(delta.covers_seeds for *_, delta in found)


def holding(summary: Summary, *fixed: str) -> list[ControlRow]:
    """Return the controls that hold one of `fixed` as in their headline arm."""
    return [row for row in summary.controls if ARM_KINDS[row.kind].fixed in fixed]


def verdict(summary: Summary) -> tuple[str, str]:
    """Return the answer to the study's question in words, and its tone."""
    found = largest_rows(summary)
    if not found:
        lacking = "a run with captions" if _has_baseline(summary) else "the run without captions (data.scale=0)"
        reason = f"No verdict on the captions: {lacking} did not finish with a seed that the other has."
        return " ".join([*registered_sentence(summary), reason]), UNCLEAR
    if not any(delta.has_interval for *_, delta in found):
        return (
            "No verdict: the answers carry no interval, because they are about one video only, or differ in every "
            "video by the same amount.",
            UNCLEAR,
        )
    by_outcome: dict[str, list[tuple[str, Estimate]]] = {}
    for table, row, delta in found:
        by_outcome.setdefault(row_outcome(row, summary), []).append((table.setting, delta))
    gains, losses = by_outcome.get(HIGHER, []), by_outcome.get(LOWER, [])
    sentences = [*registered_sentence(summary), _changes(found, gains, losses), *_rest(summary, found, by_outcome)]
    tone = LOSS if losses and not gains else UNCLEAR
    if gains:
        attributed, claim = _attribution(summary, [setting for setting, _ in gains])
        sentences += attributed
        tone = claim if not losses else UNCLEAR
    if trained_once(found):
        sentences.append(
            "Each scale was trained once: these intervals do not cover training again with another seed, and one seed "
            "cannot show how much that changes."
        )
    return " ".join(sentences), tone


def has_several_scales(summary: Summary) -> bool:
    """Whether the study has two scales above 0, without which there is no equal-step control."""
    return any(len([row for row in headline_rows(table) if row.scale > 0]) > 1 for table in summary.tables)


def _has_baseline(summary: Summary) -> bool:
    return any(row.scale == 0 for table in summary.tables for row in headline_rows(table))


def registered_sentence(summary: Summary) -> list[str]:
    """The result of the registered contrast by its own rule, as one sentence; empty if there is none."""
    result = summary.registered
    if result is None or result.difference is None or result.changed:
        return []
    bound, gap = result.registration.equivalence_points, result.difference
    shown = {
        HIGHER: "found",
        LOWER: "found, in the direction of a loss",
        EQUIVALENT: f"{within_text(bound)} (p < .05)",
    }.get(outcome(gap, gap.p, gap.p_beyond(bound)), "neither found nor excluded")
    plan = result.registration
    pair = f"{result.pair[0]} minus {result.pair[1]}, {in_setting(plan.setting)}"
    return [f"The registered contrast ({plan.contrast}: {pair}) is {difference_text(gap)} points: {shown}."]


def _changes(
    found: Sequence[tuple[Table, TableRow, Estimate]],
    gains: Sequence[tuple[str, Estimate]],
    losses: Sequence[tuple[str, Estimate]],
) -> str:
    """The gains and the losses of all settings in one sentence, so that neither hides the other."""
    row = found[0][1]
    captions = captions_text(row.num_captions, row.scale, row.scale_label)
    covered = covered_text(delta for *_, delta in found).removesuffix(", not over seeds")
    unit = f"(percentage points of accuracy, 95 % intervals over {covered})"
    if not gains and not losses:
        parts = [f"{difference_text(delta)} points {in_setting(table.setting)}" for table, _, delta in found]
        return f"No effect of caption training is resolved: {captions} minus no captions is {joined(parts)} {unit}."

    def sizes(changes: Sequence[tuple[str, Estimate]]) -> str:
        return joined([f"{size_text(delta)} points {in_setting(setting)}" for setting, delta in changes])

    verbs = [f"raised accuracy by {sizes(gains)}"] if gains else []
    verbs += [f"lowered {'it' if gains else 'accuracy'} by {sizes(losses)}"] if losses else []
    return f"Training on {captions} {' and '.join(verbs)} {unit}."


def _rest(
    summary: Summary,
    found: Sequence[tuple[Table, TableRow, Estimate]],
    by_outcome: dict[str, list[tuple[str, Estimate]]],
) -> list[str]:
    """What the settings without a resolved change show, and the settings in which the scale was not asked."""
    sentences = []
    for setting, _ in by_outcome.get(EQUIVALENT, []):
        bound = equivalent_text(summary)
        sentences.append(f"{SETTING_TITLES[setting]}, {found[0][1].scale_label} and no captions are {bound}.")
    is_listed = not (HIGHER in by_outcome or LOWER in by_outcome)  # then the first sentence has the differences already
    p_holm = {table.setting: row.cells[OVERALL].p_holm for table, row, _ in found}
    for setting, delta in by_outcome.get(OPEN, []):
        shown = "" if is_listed else f" ({difference_text(delta)} points)"
        if excludes_zero(delta):  # The interval alone would say that a change is resolved.
            shown += f" after Holm's correction for several comparisons ({p_text(p_holm[setting])})"
        bound = f": {bound_text(delta)}" if delta.has_interval else ""
        sentences.append(f"{SETTING_TITLES[setting]}, no change is resolved{shown}{bound}.")
    asked = {table.setting for table, *_ in found}
    absent = [in_setting(table.setting) for table in summary.tables if table.setting not in asked]
    if absent:
        sentences.append(f"{found[0][1].scale_label} has no answers {joined(absent)}, so nothing is claimed there.")
    return sentences


def _attribution(summary: Summary, settings: Sequence[str]) -> tuple[list[str], str]:
    """What the arms of the study attribute the gains in `settings` to, and the tone of that."""
    sentences, tone = _equal_steps(summary, settings)
    others = [row for row in summary.controls if ARM_KINDS[row.kind].fixed not in (STEPS, CAPTIONS)]
    for kind in dict.fromkeys(row.kind for row in others):
        rows = [row for row in others if row.kind == kind and row.setting in settings]
        sentences += [_compared(rows, rows[0].control_label, summary)] if rows else []
    run = {row.kind for row in summary.controls}
    possible = (EQUAL_STEPS, SHUFFLED_CAPTIONS) if has_several_scales(summary) else (SHUFFLED_CAPTIONS,)
    missing = [kind for kind in possible if kind not in run]
    if missing:
        asks = joined([ARM_KINDS[kind].asks for kind in missing])
        sentences.append(f"No arm tests {asks}: add controls=[{','.join(missing)}] to test it.")
    return sentences, tone


def _equal_steps(summary: Summary, settings: Sequence[str]) -> tuple[list[str], str]:
    """Whether distinct captions add to what more optimiser steps reach with the smallest core."""
    rows = [
        next(row for row in holding(summary, STEPS) if row.setting == setting)
        for setting in settings
        if any(row.setting == setting for row in holding(summary, STEPS))
    ]
    if not rows:
        return [
            "Runs with captions also took more optimiser steps and no equal-step control finished, so this study "
            "cannot separate the effect of captions from that of steps."
        ], UNCLEAR
    if not all(_has_equal_steps(row) for row in rows):
        return [
            "The equal-step control did not take the same number of steps, so the effects of captions and of steps are "
            "not separated."
        ], UNCLEAR
    core = rows[0].control.partition("/")[0]
    what = f"{core} captions repeated to the same number of optimiser steps (equal-step control)"
    is_gain = len(rows) == len(settings) and {control_outcome(row, summary) for row in rows} == {HIGHER}
    sentences = [_compared(rows, what, summary)]
    if any(row.arm == rows[0].control for row, _ in overfitted(summary.held_out)):
        sentences.append(
            "This control overfits its captions (see the held-out loss), so the difference does not show that fewer "
            "passes over as few captions are as bad."
        )
    return sentences, GAIN if is_gain else UNCLEAR


def overfitted(table: LossTable | None) -> list[tuple[LossRow, LossRow]]:
    """The equal-step controls whose loss is above that of their captions with fewer steps, each with that row."""
    rows = [] if table is None else table.rows
    once = {row.scale: row for row in rows if row.control is None}
    repeated = [row for row in rows if row.control is not None and ARM_KINDS[row.control].fixed == STEPS]
    return [
        (row, once[row.scale]) for row in repeated if row.scale in once and row.loss.low > once[row.scale].loss.high
    ]


def _compared(rows: Sequence[ControlRow], what: str, summary: Summary) -> str:
    """One sentence: the differences in all settings, and what each shows."""
    parts = [f"{difference_text(row.difference)} points {in_setting(row.setting)}" for row in rows]
    meanings = dict.fromkeys(meaning(row, summary) for row in rows)
    if len(meanings) == 1:
        text = f"The difference from {what} is {joined(parts)}: {next(iter(meanings))}."
    else:
        shown = [f"{part} ({meaning(row, summary)})" for part, row in zip(parts, rows, strict=True)]
        text = f"The difference from {what} is {joined(shown)}."
    harm = [
        f"{difference_text(row.control_gain)} points {in_setting(row.setting)}"
        for row in rows
        if row.control_gain is not None and row.control_gain.is_negative
    ]
    if harm:
        label = rows[0].control_label
        text += (
            f" {label} itself is below no captions ({joined(harm)}, not corrected), which is a part of this difference."
        )
    return text


def _has_equal_steps(row: ControlRow) -> bool:
    if row.control_steps is None or row.headline_steps is None:
        return False
    return abs(row.control_steps - row.headline_steps) <= STEPS_ALIKE * max(row.control_steps, row.headline_steps)
