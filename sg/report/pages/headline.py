"""The headline of a study: its verdict as one plain sentence without numbers."""

from collections.abc import Mapping, Sequence

from sg.artefacts.arms import STEPS
from sg.report.numbers.summary import ControlRow, Summary
from sg.report.pages.verdict import (
    EQUIVALENT,
    GAIN,
    HIGHER,
    LOWER,
    OPEN,
    control_outcome,
    holding,
    in_setting,
    is_fair,
    largest_rows,
    row_outcome,
    trained_once,
)
from sg.report.wording import joined


def headline(summary: Summary, tone: str) -> str:
    """Return the verdict as one plain sentence without numbers."""
    found = largest_rows(summary)
    if not any(delta.has_interval for *_, delta in found):
        return "There is no verdict yet."
    shown = {table.setting: row_outcome(row, summary) for table, row, _ in found}
    outcomes = set(shown.values())
    if outcomes >= {HIGHER, LOWER}:
        return "Training on captions raised accuracy in one setting and lowered it in another."
    where = _where(summary, [setting for setting, found_there in shown.items() if found_there in (HIGHER, LOWER)])
    where += " (one training seed)" if trained_once(found) else ""
    if LOWER in outcomes:
        return f"Training on captions lowered accuracy{where}."
    if HIGHER not in outcomes:
        return "No effect of the captions on accuracy is resolved."
    if tone == GAIN:
        return (
            f"Training on captions raised accuracy{where}, and by more than a small set of captions that is repeated "
            "for as many training steps."
        )
    controls = [row for row in holding(summary, STEPS) if shown.get(row.setting) == HIGHER]
    if not controls:
        return (
            f"Accuracy rose{where}, but without an equal-step control it may be due to more training steps rather than "
            "the captions."
        )
    reached = {control_outcome(row, summary) for row in controls}
    if all(is_fair(row) for row in controls) and reached <= {EQUIVALENT, LOWER}:
        size = "at least as much" if len(reached) > 1 else "by more" if LOWER in reached else "as much"
        return (
            f"Accuracy rose{where}, but a small set of captions, repeated for as many training steps, raises it {size}."
        )
    open_question = "whether by more captions or by more training steps is not resolved."
    by_captions = _by_more_captions(controls, shown, summary)
    if not by_captions:
        return f"Accuracy rose{where}, but {open_question}"
    return (
        f"Accuracy rose{where}, {joined([in_setting(setting) for setting in by_captions])} by more than a small set of "
        f"captions that is repeated for as many training steps; in the other setting, {open_question}"
    )


def _by_more_captions(controls: Sequence[ControlRow], shown: Mapping[str, str], summary: Summary) -> list[str]:
    """The settings whose fair controls are all higher, if what the controls of the others show is open."""
    reached: dict[str, set[str]] = {setting: set() for setting, found in shown.items() if found == HIGHER}
    for row in controls:
        reached[row.setting].add(control_outcome(row, summary) if is_fair(row) else OPEN)
    higher = [setting for setting, outcomes in reached.items() if outcomes == {HIGHER}]
    are_open = all(OPEN in outcomes or not outcomes for setting, outcomes in reached.items() if setting not in higher)
    return higher if are_open else []


def _where(summary: Summary, settings: Sequence[str]) -> str:
    """` without subtitles`: the settings of a change; empty if they are all settings of the study."""
    return "" if len(settings) == len(summary.tables) else " " + joined([in_setting(setting) for setting in settings])
