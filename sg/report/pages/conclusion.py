"""The report in words: a verdict that claims only what the intervals and controls support, and what limits it."""

from dataclasses import dataclass

from sg.artefacts.arms import ARM_KINDS, CAPTIONS, LENGTH, STEPS, VIDEOS
from sg.artefacts.predictions import OVERALL
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.statistics import minimum_detectable_effect
from sg.report.numbers.summary import Cell, ControlRow, Summary, Table, TableRow, headline_rows
from sg.report.wording import SETTING_TITLES, accuracy_text, difference_text, joined, p_text, plural, signed, size_text

LEVEL = 0.05
STEPS_ALIKE = 0.1
"""Two arms have equal steps if their numbers of steps differ by at most this share of the larger number."""
WORTH_ANSWERING = 0.99
"""The report warns if a smaller share of the questions was answered: unanswered questions are not in the official
denominator."""

SHAPES_ALIKE = 4.0
"""Curves whose AICc differ by less than this describe the points about equally well."""

GAIN, UNCLEAR, LOSS = "gain", "unclear", "loss"


@dataclass(frozen=True, slots=True)
class Statement:
    """One or two sentences on a topic; `caution` marks a statement that limits the verdict."""

    topic: str
    text: str
    caution: bool = False


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`verdict` answers the study's question in words; `tone` is "gain", "unclear" or "loss"."""

    verdict: str
    tone: str
    statements: list[Statement]


def conclude(summary: Summary) -> Conclusion:
    """Return the verdict and the statements that `summary` supports."""
    verdict, tone = _verdict(summary)
    arms = (_equal_steps, _same_size, _other_arms)
    topics = (_scale, _shape, *arms, _durations, _seeds, _probes, _answered, _power, _failures)
    return Conclusion(verdict, tone, [statement for topic in topics for statement in topic(summary)])


def _largest(table: Table) -> tuple[TableRow, Cell, Estimate] | None:
    """The largest finished scale with its overall difference from the baseline."""
    for row in reversed(headline_rows(table)):
        delta = row.cells[OVERALL].delta
        if row.scale > 0 and delta is not None:
            return row, row.cells[OVERALL], delta
    return None


def _is_resolved(cell: Cell) -> bool:
    """True if the difference is not 0, also after Holm's correction."""
    return (
        cell.delta is not None
        and cell.p_holm is not None
        and cell.p_holm < LEVEL
        and cell.delta.low * cell.delta.high > 0
    )


def _in_setting(setting: str) -> str:
    return SETTING_TITLES[setting].lower()


def _captions(row: TableRow) -> str:
    """`530k captions`, with the number that was used where it differs: `530k captions (5,300 used)`."""
    used = "" if row.num_captions in (0, row.scale) else f" ({row.num_captions:,} used)"
    return f"{row.scale_label} captions{used}"


def _verdict(summary: Summary) -> tuple[str, str]:
    found = [(table.setting, *largest) for table in summary.tables if (largest := _largest(table)) is not None]
    if not found:
        return "No verdict: it needs a finished baseline (data.scale=0) and one finished run with captions.", UNCLEAR
    row = found[0][1]
    unit = "percentage points of accuracy, 95 % intervals over videos"
    gains = [(setting, delta) for setting, _, cell, delta in found if _is_resolved(cell) and delta.is_positive]
    losses = [(setting, delta) for setting, _, cell, delta in found if _is_resolved(cell) and delta.is_negative]
    if losses:
        parts = [f"{size_text(delta)} points {_in_setting(setting)}" for setting, delta in losses]
        return f"Training on {_captions(row)} lowered accuracy by {joined(parts)} ({unit}).", LOSS
    if not gains:
        parts = [f"{difference_text(delta)} points {_in_setting(setting)}" for setting, _, _, delta in found]
        return (
            f"No effect of caption training is resolved: {_captions(row)} minus no captions is {joined(parts)} "
            f"({unit}).",
            UNCLEAR,
        )
    parts = [f"{size_text(delta)} points {_in_setting(setting)}" for setting, delta in gains]
    unresolved = [_in_setting(setting) for setting, *_ in found if setting not in {name for name, _ in gains}]
    rest = f" No gain is resolved {joined(unresolved)}." if unresolved else ""
    claim, tone = _attribution(summary, [setting for setting, _ in gains])
    once = " Each scale was trained once, so variance across training seeds is not covered."
    return (
        f"Training on {_captions(row)} raised accuracy by {joined(parts)} ({unit}).{rest} {claim}"
        f"{once if len(row.seeds) < 2 else ''}",
        tone,
    )


def _attribution(summary: Summary, settings: list[str]) -> tuple[str, str]:
    """Whether the gain can be attributed to more captions rather than to more optimiser steps."""
    controls = [row for row in _holding(summary, STEPS) if row.setting in settings]
    if not controls:
        return (
            "Larger scales also took more optimiser steps and no equal-step control finished, so this study cannot "
            "separate the effect of more captions from that of more steps.",
            UNCLEAR,
        )
    if not all(_has_equal_steps(row) for row in controls):
        return (
            "The equal-step control did not take the same number of steps, so the effects of captions and of steps are "
            "not separated.",
            UNCLEAR,
        )
    resolved = [row for row in controls if row.difference.is_positive]
    parts = [f"{difference_text(row.difference)} points {_in_setting(row.setting)}" for row in controls]
    core = controls[0].control.partition("/")[0]
    text = (
        f"The difference from {core} captions repeated to the same number of optimiser steps (equal-step control) is "
        f"{joined(parts)}"
    )
    if len(resolved) == len(controls):
        return f"{text}: more distinct captions raise accuracy, beyond the effect of more steps.", GAIN
    if resolved:
        return f"{text}: an effect of distinct captions beyond more steps is not resolved in every setting.", UNCLEAR
    return f"{text}: the gain cannot be attributed to more captions, because more steps explain it as well.", UNCLEAR


def _holding(summary: Summary, fixed: str) -> list[ControlRow]:
    """The controls that hold `fixed` (`STEPS` or `CAPTIONS`) as in their headline arm."""
    return [row for row in summary.controls if ARM_KINDS[row.kind].fixed == fixed]


def _has_equal_steps(row: ControlRow) -> bool:
    if row.control_steps is None or row.headline_steps is None:
        return False
    return abs(row.control_steps - row.headline_steps) <= STEPS_ALIKE * max(row.control_steps, row.headline_steps)


def _scale(summary: Summary) -> list[Statement]:
    """Whether the number of captions matters among the runs with captions."""
    statements = []
    for table in summary.tables:
        rows = [row for row in headline_rows(table) if row.scale > 0]
        if table.growth is None or len(rows) < 2:
            continue
        change = (
            f"from {rows[0].scale_label} to {rows[-1].scale_label} captions, accuracy changes by "
            f"{difference_text(table.growth)} points"
        )
        joint = f" (test that all {len(rows)} caption scales are equally accurate: {p_text(table.joint_p)})"
        meaning = {
            (True, False): "accuracy rises with scale and with the steps that come with it",
            (False, True): "accuracy falls with scale and with the steps that come with it",
            (False, False): "the number of captions that is needed is not resolved",
        }[table.growth.is_positive, table.growth.is_negative]
        tested = "" if table.joint_p is None else joint
        statements.append(Statement("Scale", f"{SETTING_TITLES[table.setting]}, {change}{tested}: {meaning}."))
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
        text = f"{SETTING_TITLES[table.setting]}, a {best} fits the means best, {apart} than a {following}"
        statements.append(Statement("Shape", f"{text} (AICc lower by {gap:.1f})."))
    return statements


def _equal_steps(summary: Summary) -> list[Statement]:
    statements = []
    for row in _holding(summary, STEPS):
        gains = ""
        if row.headline_gain is not None and row.control_gain is not None:
            reached, gained = signed(row.control_gain.value), signed(row.headline_gain.value)
            gains = f"; the control reaches {reached} of the {gained} points gained over no captions"
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
    return "an unknown number of steps" if steps is None else plural(steps, "step")


def _same_size(summary: Summary) -> list[Statement]:
    """Whether the curated core is better than another choice of as many captions."""
    statements = []
    for row in _holding(summary, CAPTIONS):
        other = f"a {ARM_KINDS[row.kind].legend} of the same size"
        meaning = f"the curated core is better than {other}"
        if not row.difference.is_positive:
            meaning = f"no advantage of the curated core over {other} is resolved"
        if row.difference.is_negative:
            meaning = f"the curated core is worse than {other}"
        pair = f"{SETTING_TITLES[row.setting]}, {row.headline_label} minus {row.control_label}"
        text = f"{pair}: {difference_text(row.difference)} points: {meaning}."
        statements.append(Statement("Curation", text, caution=not row.difference.is_positive))
    return statements


def _other_arms(summary: Summary) -> list[Statement]:
    """What the arms show that train on as much, but not on captions that describe their videos."""
    statements = []
    for row in [*_holding(summary, VIDEOS), *_holding(summary, LENGTH)]:
        kind = ARM_KINDS[row.kind]
        effect = "raise" if row.difference.is_positive else "lower"
        meaning = f"{kind.asks} {effect} accuracy"
        if not (row.difference.is_positive or row.difference.is_negative):
            meaning = f"an effect of {kind.asks} is not resolved"
        pair = f"{SETTING_TITLES[row.setting]}, {row.headline_label} minus {row.control_label}"
        text = f"{pair}: {difference_text(row.difference)} points, {p_text(row.difference.p)}: {meaning}."
        statements.append(Statement("Other arms", text, caution=not row.difference.is_positive))
    return statements


def _durations(summary: Summary) -> list[Statement]:
    statements = []
    for table in summary.tables:
        largest = _largest(table)
        if largest is None:
            continue
        cells = [(name, cell.delta) for name, cell in largest[0].cells.items() if name != OVERALL and cell.delta]
        parts = [f"{name} {difference_text(delta)}" for name, delta in cells]
        if parts:
            where = f"{SETTING_TITLES[table.setting]}, {largest[0].scale_label} minus no captions by video duration"
            text = f"{where}: {joined(parts)} points (exploratory, not corrected)."
            statements.append(Statement("Durations", text))
    return statements


def _seeds(summary: Summary) -> list[Statement]:
    found = [(table, largest) for table in summary.tables if (largest := _largest(table)) is not None]
    if not found:
        return []
    fewest = min(len(row.seeds) for table, _ in found for row in headline_rows(table))
    if fewest < 2:
        text = (
            "Some scales were trained with one seed: their intervals cover the choice of videos, not the variance "
            "across training seeds."
        )
        return [Statement("Seeds", text, caution=True)]
    statements = []
    for table, (row, cell, _) in found:
        if not cell.seed_deltas:
            continue
        higher = sum(delta > 0 for delta in cell.seed_deltas)
        spread = joined([signed(delta) for delta in cell.seed_deltas])
        seeds = plural(len(cell.seed_deltas), "seed")
        where = f"{SETTING_TITLES[table.setting]}, {row.scale_label}"
        text = f"{where} is above the baseline of its seed in {higher} of {seeds} ({spread} points)."
        statements.append(Statement("Seeds", text, caution=higher < len(cell.seed_deltas)))
    return statements


def _probes(summary: Summary) -> list[Statement]:
    if not summary.probes:
        return [Statement("Leak probes", "No leak probe was run.", caution=True)]
    last = {row.probe: row for row in summary.probes}
    parts = [f"{SETTING_TITLES[row.probe].lower()} {accuracy_text(row.accuracy)} %" for row in last.values()]
    high = [row for row in summary.probes if not row.at_chance]
    text = (
        f"Accuracy of {next(iter(last.values())).label} without the right video: {joined(parts)}; chance is "
        f"{summary.probes[0].chance:.0f} %."
    )
    if not high:
        return [Statement("Leak probes", f"{text} All probes are at chance: the answers depend on the video.")]
    worst = max(high, key=lambda row: abs(row.accuracy.value - row.chance))
    off = signed(worst.accuracy.value - worst.chance)
    text += (
        f" {worst.label} is {off} points from chance ({SETTING_TITLES[worst.probe].lower()}): some answers do not "
        "depend on the video (they come from the text alone, or from a leak)."
    )
    return [Statement("Leak probes", text, caution=True)]


def _answered(summary: Summary) -> list[Statement]:
    low = [
        f"{row.label} {_in_setting(table.setting)} {100 * cell.answered / cell.questions:.1f} %"
        for table in summary.tables
        for row in table.rows
        if (cell := row.cells[OVERALL]).questions and cell.answered < WORTH_ANSWERING * cell.questions
    ]
    if not low:
        return []
    silence = "Unanswered questions are not in the official denominator, so a silent model can score higher."
    text = f"Questions answered, in % of all questions: {joined(low)}. {silence}"
    return [Statement("Answered", text, caution=True)]


def _power(summary: Summary) -> list[Statement]:
    parts = []
    for table in summary.tables:
        largest = _largest(table)
        if largest is not None:
            effect = minimum_detectable_effect(largest[2].standard_error)
            parts.append(f"{effect:.1f} points {_in_setting(table.setting)}")
    if not parts:
        return []
    text = f"Smallest true difference from the baseline that 80 % of such studies would detect: {joined(parts)}."
    return [Statement("Resolution", text)]


def _failures(summary: Summary) -> list[Statement]:
    failed = [run.run for run in summary.runs if run.status != "finished"]
    if not failed:
        return []
    verb = "is" if len(failed) == 1 else "are"
    text = f"{plural(len(failed), 'run')} failed and {verb} missing from the numbers: {joined(failed)}."
    return [Statement("Failed runs", text, caution=True)]
