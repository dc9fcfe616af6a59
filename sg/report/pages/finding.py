"""The verdict in words: it claims what intervals and controls carry, and says what they do not."""

from dataclasses import dataclass

from sg.artefacts.result import EQUAL_STEPS, RANDOM
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.statistics import minimum_detectable_effect
from sg.report.numbers.summary import Cell, ControlRow, Row, Summary, Table, headline_rows
from sg.report.wording import SETTING_TITLES, accuracy_text, difference_text, joined, p_text, plural, signed, size_text

LEVEL = 0.05
STEPS_ALIKE = 0.1
"""Arms count as having equal steps within this share of the larger number."""
WORTH_ANSWERING = 0.99
"""Below this share of answered questions the report warns: silence leaves the official denominator."""

SHAPES_ALIKE = 4.0
"""Curves whose AICc differ by less than this describe the points about as well."""

GAIN, UNCLEAR, LOSS = "gain", "unclear", "loss"


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence or two on a topic; `caution` marks what limits the verdict."""

    topic: str
    text: str
    caution: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """`verdict` is the answer to the study's question; `tone` is "gain", "unclear" or "loss"."""

    verdict: str
    tone: str
    statements: list[Statement]


def find(summary: Summary) -> Finding:
    """What `summary` allows to say."""
    verdict, tone = _verdict(summary)
    topics = (_scale, _shape, _equal_steps, _random, _durations, _seeds, _probes, _answered, _power, _failures)
    return Finding(verdict, tone, [statement for topic in topics for statement in topic(summary)])


def _largest(table: Table) -> tuple[Row, Cell, Estimate] | None:
    """The largest finished scale with its overall difference to the baseline."""
    for row in reversed(headline_rows(table)):
        delta = row.cells["overall"].delta
        if row.scale > 0 and delta is not None:
            return row, row.cells["overall"], delta
    return None


def _is_resolved(cell: Cell) -> bool:
    """The difference differs from 0, also after Holm."""
    return (
        cell.delta is not None
        and cell.p_holm is not None
        and cell.p_holm < LEVEL
        and cell.delta.low * cell.delta.high > 0
    )


def _in_setting(setting: str) -> str:
    return SETTING_TITLES[setting].lower()


def _verdict(summary: Summary) -> tuple[str, str]:
    found = [(table.setting, *largest) for table in summary.tables if (largest := _largest(table)) is not None]
    if not found:
        return "No verdict: it takes a finished baseline (data.scale=0) and one finished run with captions.", UNCLEAR
    row = found[0][1]
    gains = [(setting, delta) for setting, _, cell, delta in found if _is_resolved(cell) and delta.is_positive]
    losses = [(setting, delta) for setting, _, cell, delta in found if _is_resolved(cell) and delta.is_negative]
    if losses:
        parts = [f"{size_text(delta)} points {_in_setting(setting)}" for setting, delta in losses]
        return f"Training on {row.scale_label} captions lowered accuracy by {joined(parts)}.", LOSS
    if not gains:
        parts = [f"{difference_text(delta)} points {_in_setting(setting)}" for setting, _, _, delta in found]
        return (
            f"No effect of caption training is resolved: {row.scale_label} captions against none give {joined(parts)}.",
            UNCLEAR,
        )
    parts = [f"{size_text(delta)} points {_in_setting(setting)}" for setting, delta in gains]
    unresolved = [_in_setting(setting) for setting, *_ in found if setting not in {name for name, _ in gains}]
    rest = f" {joined(unresolved).capitalize()} no gain is resolved." if unresolved else ""
    claim, tone = _attribution(summary, [setting for setting, _ in gains])
    once = " Each scale was trained once, so the luck of training is not covered." if len(row.seeds) < 2 else ""
    return f"Training on {row.scale_label} captions raised accuracy by {joined(parts)}.{rest} {claim}{once}", tone


def _attribution(summary: Summary, settings: list[str]) -> tuple[str, str]:
    """Whether a gain may be credited to more captions rather than more optimiser steps."""
    controls = [row for row in summary.controls if row.kind == EQUAL_STEPS and row.setting in settings]
    if not controls:
        return (
            "Larger scales also trained for more steps and no equal-step control finished, so this study cannot tell "
            "more captions from more training.",
            UNCLEAR,
        )
    if not all(_has_equal_steps(row) for row in controls):
        return "The control did not have the same number of steps, so captions and steps stay mixed.", UNCLEAR
    carried = [row for row in controls if row.difference.is_positive]
    parts = [f"{difference_text(row.difference)} points {_in_setting(row.setting)}" for row in controls]
    core = controls[0].control_label.removesuffix(" repeated")
    text = f"Against {core} captions repeated to as many steps it is {joined(parts)}"
    if len(carried) == len(controls):
        return f"{text}: distinct captions raise accuracy, not only more training.", GAIN
    if carried:
        return (
            f"{text}: an effect of distinct captions, beyond more training, is not resolved in every setting.",
            UNCLEAR,
        )
    return f"{text}: the gain cannot be credited to more captions, more training steps explain it as well.", UNCLEAR


def _has_equal_steps(row: ControlRow) -> bool:
    if row.control_steps is None or row.headline_steps is None:
        return False
    return abs(row.control_steps - row.headline_steps) <= STEPS_ALIKE * max(row.control_steps, row.headline_steps)


def _scale(summary: Summary) -> list[Statement]:
    """Does the number of captions matter once there are some?"""
    statements = []
    for table in summary.tables:
        rows = [row for row in headline_rows(table) if row.scale > 0]
        if table.growth is None or len(rows) < 2:
            continue
        change = (
            f"from {rows[0].scale_label} to {rows[-1].scale_label} captions: {difference_text(table.growth)} points"
        )
        joint = "" if table.joint_p is None else f"; all {len(rows)} caption scales alike: {p_text(table.joint_p)}"
        meaning = {
            (True, False): "accuracy rises with scale and the training steps that go along",
            (False, True): "accuracy falls with scale and the training steps that go along",
            (False, False): "how many captions are needed is not resolved",
        }[table.growth.is_positive, table.growth.is_negative]
        statements.append(Statement("Scale", f"{SETTING_TITLES[table.setting]}, {change}{joint}: {meaning}."))
    return statements


def _shape(summary: Summary) -> list[Statement]:
    """Which of the fitted curves describes the means best, and whether the next one is as good."""
    statements = []
    for table in summary.tables:
        known = [(shape.name, shape.aicc) for shape in table.shapes if shape.aicc is not None]
        if len(known) < 2:
            continue
        (best, lowest), (following, next_lowest) = known[:2]
        gap = next_lowest - lowest
        apart = "clearly better" if gap > SHAPES_ALIKE else "hardly better"
        others = joined([name for name, _ in known])
        text = f"{SETTING_TITLES[table.setting]}, of {others} the best curve is {best}, {apart} than {following}"
        statements.append(Statement("Shape", f"{text} (AICc {gap:.1f} apart)."))
    return statements


def _equal_steps(summary: Summary) -> list[Statement]:
    statements = []
    for row in (row for row in summary.controls if row.kind == EQUAL_STEPS):
        gains = ""
        if row.headline_gain is not None and row.control_gain is not None:
            reached = signed(row.control_gain.value)
            gains = f"; of a gain of {signed(row.headline_gain.value)} the repeated core reaches {reached}"
        steps = f"{_steps(row.headline_steps)} against {_steps(row.control_steps)}"
        text = (
            f"{SETTING_TITLES[row.setting]}, {row.headline_label} minus {row.control_label}: "
            f"{difference_text(row.difference)} points, {p_text(row.difference.p)} ({steps}){gains}."
        )
        statements.append(Statement("Equal steps", text, caution=not row.difference.is_positive))
    if not statements:
        text = "No equal-step control finished: add one with data.control=equal_steps."
        statements.append(Statement("Equal steps", text, caution=True))
    return statements


def _steps(steps: int | None) -> str:
    return "unknown steps" if steps is None else plural(steps, "step")


def _random(summary: Summary) -> list[Statement]:
    statements = []
    for row in (row for row in summary.controls if row.kind == RANDOM):
        meaning = "the curated core is better than a random subset of its size"
        if not row.difference.is_positive:
            meaning = "no advantage of the curated core over a random subset is resolved"
        if row.difference.is_negative:
            meaning = "the curated core is worse than a random subset of its size"
        pair = f"{SETTING_TITLES[row.setting]}, {row.headline_label} minus {row.control_label}"
        text = f"{pair}: {difference_text(row.difference)} points: {meaning}."
        statements.append(Statement("Curation", text, caution=not row.difference.is_positive))
    return statements


def _durations(summary: Summary) -> list[Statement]:
    statements = []
    for table in summary.tables:
        largest = _largest(table)
        if largest is None:
            continue
        cells = [(name, cell.delta) for name, cell in largest[0].cells.items() if name != "overall" and cell.delta]
        parts = [f"{name} {difference_text(delta)}" for name, delta in cells]
        if parts:
            where = f"{SETTING_TITLES[table.setting]}, {largest[0].scale_label}"
            text = f"{where}: {joined(parts)} points (exploratory, not corrected)."
            statements.append(Statement("Durations", text))
    return statements


def _seeds(summary: Summary) -> list[Statement]:
    found = [(table, largest) for table in summary.tables if (largest := _largest(table)) is not None]
    if not found:
        return []
    fewest = min(len(row.seeds) for table, _ in found for row in headline_rows(table))
    if fewest < 2:
        text = "Some scales were trained once: their intervals cover the choice of questions, not the luck of training."
        return [Statement("Seeds", text, caution=True)]
    statements = []
    for table, (row, cell, _) in found:
        if not cell.seed_deltas:
            continue
        higher = sum(delta > 0 for delta in cell.seed_deltas)
        spread = joined([signed(delta) for delta in cell.seed_deltas])
        seeds = plural(len(cell.seed_deltas), "seed")
        where = f"{SETTING_TITLES[table.setting]}, {row.scale_label}"
        text = f"{where} was above the baseline in {higher} of {seeds} ({spread})."
        statements.append(Statement("Seeds", text, caution=higher < len(cell.seed_deltas)))
    return statements


def _probes(summary: Summary) -> list[Statement]:
    if not summary.probes:
        return [Statement("Leak probes", "No leak probe was run.", caution=True)]
    last = {row.probe: row for row in summary.probes}
    parts = [f"{SETTING_TITLES[row.probe].lower()} {accuracy_text(row.accuracy)} %" for row in last.values()]
    high = [row for row in summary.probes if not row.at_chance]
    text = f"{next(iter(last.values())).label}: {joined(parts)}, guessing gives {summary.probes[0].chance:.0f} %."
    if not high:
        return [
            Statement("Leak probes", f"{text} Without the right video nothing is known: answers come from the video.")
        ]
    worst = max(high, key=lambda row: abs(row.accuracy.value - row.chance))
    off = signed(worst.accuracy.value - worst.chance)
    text += (
        f" {worst.label} is off chance by {off} points ({SETTING_TITLES[worst.probe].lower()}): part of the answers "
        "does not come from the video (text alone, or a leak)."
    )
    return [Statement("Leak probes", text, caution=True)]


def _answered(summary: Summary) -> list[Statement]:
    low = [
        f"{row.label} {_in_setting(table.setting)} {100 * cell.answered / cell.questions:.1f} %"
        for table in summary.tables
        for row in table.rows
        if (cell := row.cells["overall"]).questions and cell.answered < WORTH_ANSWERING * cell.questions
    ]
    if not low:
        return []
    silence = "Unanswered ones leave the official denominator, so silence can raise a score."
    text = f"Share of questions answered: {joined(low)}. {silence}"
    return [Statement("Answered", text, caution=True)]


def _power(summary: Summary) -> list[Statement]:
    parts = []
    for table in summary.tables:
        largest = _largest(table)
        if largest is not None:
            parts.append(
                f"{minimum_detectable_effect(largest[2].standard_error):.1f} points {_in_setting(table.setting)}"
            )
    if not parts:
        return []
    text = f"Smallest difference to the baseline found in four of five such studies: {joined(parts)}."
    return [Statement("Resolution", text)]


def _failures(summary: Summary) -> list[Statement]:
    failed = [run.run for run in summary.runs if run.status != "finished"]
    if not failed:
        return []
    verb = "is" if len(failed) == 1 else "are"
    text = f"{plural(len(failed), 'run')} failed and {verb} missing: {joined(failed)}."
    return [Statement("Failed runs", text, caution=True)]
