"""The report in words: a verdict that claims only what the intervals and controls support, and what limits it."""

from dataclasses import dataclass

from sg.artefacts.arms import ARM_KINDS, CAPTIONS, LENGTH, REGISTRATION_FILE, STEPS, VIDEOS
from sg.artefacts.predictions import NO_VIDEO, OVERALL
from sg.report.numbers.comparisons import ABOVE
from sg.report.numbers.summary import ControlRow, ProbeRow, Shape, Summary, TableRow, headline_rows
from sg.report.pages.headline import headline
from sg.report.pages.held_out import loss_sentences
from sg.report.pages.verdict import (
    EQUIVALENT,
    HIGHER,
    LEVEL,
    LOWER,
    bound_text,
    control_outcome,
    equivalent_text,
    excludes_zero,
    has_several_scales,
    holding,
    in_setting,
    is_fair,
    largest_rows,
    meaning,
    registered_sentence,
    verdict,
)
from sg.report.wording import (
    SETTING_TITLES,
    accuracy_text,
    difference_text,
    holm_text,
    joined,
    once_text,
    p_text,
    plural,
    seeds_text,
    signed,
)

WORTH_ANSWERING = 0.99
"""The report warns if a smaller share of the questions was answered: unanswered questions are not in the official
denominator."""

SHAPES_ALIKE = 4.0
"""Curves whose AIC differ by less than this describe the points about equally well."""

REJECTED = 0.05
"""A curve does not describe the points if p of chi-squared is below this."""


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
    headline: str = ""


def conclude(summary: Summary) -> Conclusion:
    """Return the verdict and the statements that `summary` supports."""
    text, tone = verdict(summary)
    arms = (_held_out, _forgotten, _equal_steps, _same_size, _other_arms)
    topics = (_registered, _scale, _shape, *arms, _durations, _seeds, _probes, _answered, _power, _failures)
    statements = [statement for topic in topics for statement in topic(summary)]
    return Conclusion(text, tone, statements, headline(summary, tone))


def _registered(summary: Summary) -> list[Statement]:
    """What was registered before the first run, its result, and what was added afterwards."""
    result = summary.registered
    if result is None:
        return []
    plan = result.registration
    if result.changed:
        text = (
            f"{REGISTRATION_FILE} is not the one that {joined(result.changed)} recorded when they began. It was "
            "written or changed afterwards, so this report treats no contrast as registered."
        )
        return [Statement("Registered", text, caution=True)]
    text = (
        f"Registered on {plan.date}, before the first run: {plan.contrast} in {plan.metric} on {plan.benchmark}, "
        f"{in_setting(plan.setting)}; arms {joined(plan.arms)}; {seeds_text(plan.seeds)}; {plan.rule}. "
    )
    text += " ".join(registered_sentence(summary)) or "Its runs are not finished, so it has no result yet."
    statements = [Statement("Registered", text, caution=result.difference is None)]
    if result.added:
        text = f"Added after the registration, and therefore exploratory: {joined(result.added)}."
        statements.append(Statement("Registered", text, caution=True))
    if result.missing:
        text = f"Registered, but without a result: {joined(result.missing)}."
        statements.append(Statement("Registered", text, caution=True))
    return statements


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
        joint = (
            f" (test that all {len(rows)} caption scales are equally accurate: {p_text(table.joint_p)}, not corrected)"
        )
        is_tested = table.joint_p is not None and table.joint_p < LEVEL  # or the end points are one of several pairs
        more = (
            f"with {rows[-1].scale_label}, and the training steps that come with them, than with {rows[0].scale_label}"
        )
        meaning = {
            (True, False): f"accuracy is higher {more}",
            (False, True): f"accuracy is lower {more}",
            (False, False): "whether accuracy changes with scale is not resolved",
        }[is_tested and table.growth.is_positive, is_tested and table.growth.is_negative]
        meaning += once_text(table.growth) if excludes_zero(table.growth) else ""
        tested = "" if table.joint_p is None else joint
        statements.append(Statement("Scale", f"{SETTING_TITLES[table.setting]}, {change}{tested}: {meaning}."))
    return statements


def _shape(summary: Summary) -> list[Statement]:
    """Which of the fitted curves describe the means, and whether one of them is better; a rejected one never is."""
    statements = []
    for table in summary.tables:
        shapes = [shape for shape in table.shapes if shape.aic is not None]
        fitting = [shape for shape in shapes if shape.p is None or shape.p >= REJECTED]
        rejected = [shape for shape in shapes if shape not in fitting]
        if len(shapes) < 2:
            continue
        parts = [_best_shape(fitting)] if fitting else ["chi-squared rejects all curves that it can test"]
        if rejected:
            tests = joined([f"a {shape.name} ({_chi2(shape)})" for shape in rejected])
            parts.append(f"rejected by chi-squared: {tests}")
        once = "" if table.growth is None else once_text(table.growth)
        text = f"{SETTING_TITLES[table.setting]}, {'; '.join(parts)}{once}."
        statements.append(Statement("Shape", text, caution=not fitting))
    return statements


def _best_shape(fitting: list[Shape]) -> str:
    best, *others = fitting
    state = f"is not rejected ({_chi2(best)})" if best.p is not None else f"is {_chi2(best)}"
    text = f"a {best.name} {state}"
    for other in others:
        gap = (other.aic or 0) - (best.aic or 0)
        apart = "better by AIC" if gap > SHAPES_ALIKE else "hardly better"
        text += f", {apart} than a {other.name} ({_chi2(other)}, AIC higher by {gap:.1f})"
    return text


def _chi2(shape: Shape) -> str:
    if shape.p is None or shape.chi2 is None:
        return "untested: as many parameters as points"
    return f"chi-squared {shape.chi2:.1f} on {shape.degrees} df, {p_text(shape.p)}"


def _held_out(summary: Summary) -> list[Statement]:
    """What the loss on held-out captions shows."""
    sentences = [] if summary.held_out is None else loss_sentences(summary.held_out)
    return [Statement("Held-out loss", text, caution=caution) for text, caution in sentences]


def _forgotten(summary: Summary) -> list[Statement]:
    """The loss on dialogs of the model's own kind, by arm."""
    losses: dict[str, list[float]] = {}
    for run in summary.runs:
        if run.forgetting is not None:
            arm = "no captions" if run.scale_label == "0" else run.scale_label
            arm += f" {ARM_KINDS[run.control].label}" if run.control else ""
            losses.setdefault(arm, []).append(run.forgetting)
    if not losses:
        return []
    means = joined([f"{arm} {sum(found) / len(found):.3f}" for arm, found in losses.items()])
    text = (
        f"Mean loss on dialogs of the model's own kind, in nats per token: {means} (means over seeds, without an "
        "interval). Where it is above that of no captions, the stages made the model forget."
    )
    return [Statement("Forgetting", text)]


def _equal_steps(summary: Summary) -> list[Statement]:
    statements = []
    for row in holding(summary, STEPS):
        steps = f"{_steps(row.headline_steps)} against {_steps(row.control_steps)}"
        text = (
            f"{SETTING_TITLES[row.setting]}, {row.headline_label} minus {row.control_label}: "
            f"{difference_text(row.difference)} points, {_p_of(row)} ({steps}){_gains(row)}: "
            f"{meaning(row, summary)}."
        )
        is_gain = is_fair(row) and control_outcome(row, summary) == HIGHER
        statements.append(Statement("Equal steps", text, caution=not is_gain))
    if not statements:
        text = (
            "No equal-step control finished: add one with data.control=equal_steps."
            if has_several_scales(summary)
            else "An equal-step control needs two scales above 0; this study has fewer."
        )
        statements.append(Statement("Equal steps", text, caution=True))
    return statements


def _p_of(row: ControlRow) -> str:
    return holm_text(row.p_holm, row.difference.p)


def _gains(row: ControlRow) -> str:
    if row.headline_gain is None or row.control_gain is None:
        return ""
    reached, gained = difference_text(row.control_gain), difference_text(row.headline_gain)
    return f"; over no captions, the control has {reached} and {row.headline_label} {gained} points"


def _steps(steps: int | None) -> str:
    return "an unknown number of steps" if steps is None else plural(steps, "step")


def _same_size(summary: Summary) -> list[Statement]:
    """Whether the curated core is better than another choice of as many captions."""
    statements = []
    for row in holding(summary, CAPTIONS):
        other = f"a {ARM_KINDS[row.kind].legend} of the same size"
        shown = control_outcome(row, summary)
        result = {
            HIGHER: f"the curated core is better than {other}{once_text(row.difference)}",
            LOWER: f"the curated core is worse than {other}{once_text(row.difference)}",
            EQUIVALENT: f"the curated core and {other} are {equivalent_text(summary)}",
        }.get(shown, f"neither is resolved to be better ({bound_text(row.difference)})")
        pair = f"{SETTING_TITLES[row.setting]}, {row.headline_label} minus {row.control_label}"
        text = f"{pair}: {difference_text(row.difference)} points, {_p_of(row)}: {result}."
        statements.append(Statement("Curation", text, caution=shown != HIGHER))
    return statements


def _other_arms(summary: Summary) -> list[Statement]:
    """What the arms show that train on as much, but not on captions that describe their videos."""
    statements = []
    for row in holding(summary, VIDEOS, LENGTH):
        pair = f"{SETTING_TITLES[row.setting]}, {row.headline_label} minus {row.control_label}"
        text = f"{pair}: {difference_text(row.difference)} points, {_p_of(row)}{_gains(row)}: "
        text += f"{meaning(row, summary)}."
        statements.append(Statement("Other arms", text, caution=control_outcome(row, summary) != HIGHER))
    return statements


def _durations(summary: Summary) -> list[Statement]:
    statements = []
    for table, row, _ in largest_rows(summary):
        cells = [(name, cell.delta) for name, cell in row.cells.items() if name != OVERALL and cell.delta]
        parts = [f"{name} {difference_text(delta)}" for name, delta in cells]
        if parts:
            where = f"{SETTING_TITLES[table.setting]}, {row.scale_label} minus no captions by video duration"
            text = f"{where}: {joined(parts)} points (exploratory, not corrected)."
            statements.append(Statement("Durations", text))
    return statements


def _seeds(summary: Summary) -> list[Statement]:
    found = largest_rows(summary)
    statements = []
    if any(not delta.covers_seeds for *_, delta in found):
        text = "Intervals cover the choice of videos, not the variance across training seeds."
        if any(not delta.covers_seeds and len(delta.seeds or row.seeds) < 2 for _, row, delta in found):
            text += " With one seed per arm it is unknown; a second seed of two or more arms (seed=0,1) shows it."
        statements.append(Statement("Seeds", text, caution=True))
    for table, row, _ in found:
        deltas = row.cells[OVERALL].seed_deltas
        if len(deltas) > 1:
            higher = sum(delta > 0 for delta in deltas)
            spread = joined([signed(delta) for delta in deltas])
            text = (
                f"{SETTING_TITLES[table.setting]}, {row.scale_label} is above the baseline of its seed in {higher} of "
                f"{plural(len(deltas), 'seed')} ({spread} points)."
            )
            statements.append(Statement("Seeds", text, caution=higher < len(deltas)))
    parts = list(dict.fromkeys(part for table in summary.tables for part in _left_out(table.rows)))
    if parts:
        text = f"Differences are over the seeds that both arms have. Left out: {joined(parts)}."
        statements.append(Statement("Seeds", text, caution=True))
    return statements


def _left_out(rows: list[TableRow]) -> list[str]:
    """The seeds of one arm only, which are in no difference: `seed 3 of 50k`."""
    base = next((row for row in rows if row.scale == 0 and row.control is None), None)
    parts = []
    for row in rows:
        delta = row.cells[OVERALL].delta
        if base is None or delta is None or not delta.seeds:
            continue
        if own := [seed for seed in row.seeds if seed not in delta.seeds]:
            parts.append(f"{seeds_text(own)} of {row.label}")
        if others := [seed for seed in base.seeds if seed not in delta.seeds]:
            parts.append(f"{seeds_text(others)} of {base.label} from the difference of {row.label}")
    return parts


def _probes(summary: Summary) -> list[Statement]:
    """Whether answers without the right video are better than guessing, and than answers to the text alone."""
    if not summary.probes:
        return [Statement("Leak probes", "No leak probe was run.", caution=True)]
    last = {row.probe: row for row in summary.probes}
    parts = [f"{SETTING_TITLES[row.probe].lower()} {accuracy_text(row.accuracy)} %" for row in last.values()]
    chance = summary.probes[0].chance
    text = (
        f"Accuracy of {next(iter(last.values())).label} without the right video: {joined(parts)}; guessing reaches "
        f"{chance:.0f} %. "
    )
    above = [row for row in summary.probes if row.against_chance == ABOVE]
    if above:
        worst = max(above, key=lambda row: row.accuracy.value)
        text += (
            f"{worst.label} is above it by {signed(worst.accuracy.value - chance)} points "
            f"({in_setting(worst.probe)}, {accuracy_text(worst.accuracy)} %, {p_text(worst.p_holm)} after Holm): some "
            "answers do not depend on the video (they come from the text alone, or from a leak)."
        )
    else:
        known = [row.accuracy.high for row in summary.probes if row.accuracy.has_interval]
        bound = (
            f"; the upper ends of all intervals are at most {signed(max(known) - chance)} points from it"
            if known
            else ""
        )
        text += f"No probe is resolved above it{bound}."
    return [Statement("Leak probes", text, caution=bool(above)), *_text_alone(list(last.values()))]


def _text_alone(rows: list[ProbeRow]) -> list[Statement]:
    """What a wrong video and the right video add to the text of questions and options."""
    blind = next((row for row in rows if row.probe == NO_VIDEO), None)
    if blind is None:
        text = "Text alone was not asked: benchmark.answering.probes=[zeroed_video,swapped_video,no_video] adds it."
        return [Statement("Text alone", text, caution=True)]
    added = [("the right video", blind.drop)]
    added += [(in_setting(row.probe), row.over_text) for row in rows if row is not blind]
    parts = [f"{name} {difference_text(gap)}" for name, gap in added if gap is not None]
    leaks = [name for name, gap in added[1:] if gap is not None and gap.is_positive]
    text = f"{blind.label} minus its answers without any video: {joined(parts)} points."
    text += f" Above text alone although the video is wrong (not corrected): {joined(leaks)}." if leaks else ""
    return [Statement("Text alone", text, caution=bool(leaks) or blind.drop is None or not blind.drop.is_positive)]


def _answered(summary: Summary) -> list[Statement]:
    low = [
        f"{row.label} {in_setting(table.setting)} {100 * cell.answered / cell.questions:.1f} %"
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
    found = [(table.setting, delta) for table, _, delta in largest_rows(summary) if delta.has_interval]
    if not found:
        return []
    parts = [f"{delta.detectable:.1f} points {in_setting(setting)}" for setting, delta in found]
    once = "" if all(delta.covers_seeds for _, delta in found) else "; if training again changes nothing"
    text = (
        "Smallest true difference from the baseline that 80 % of such studies would detect (two-sided test at 5 %, "
        f"before Holm's correction{once}): {joined(parts)}."
    )
    return [Statement("Resolution", text)]


def _failures(summary: Summary) -> list[Statement]:
    failed = [run.run for run in summary.runs if run.status != "finished"]
    if not failed:
        return []
    verb = "is" if len(failed) == 1 else "are"
    text = f"{plural(len(failed), 'run')} failed and {verb} missing from the numbers: {joined(failed)}."
    return [Statement("Failed runs", text, caution=True)]
