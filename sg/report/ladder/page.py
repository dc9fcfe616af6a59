"""A ladder as text: one Markdown document, which the command also prints, and a CSV of its rows."""

from collections.abc import Iterator, Sequence

from sg.report.ladder.law import PARAMETERS
from sg.report.ladder.numbers import LadderLaw, LadderRow, LadderSummary
from sg.report.ladder.studies import METRICS
from sg.report.ladder.worth import Worth
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.held_out import HELD_OUT
from sg.report.pages.exports import cell_text, csv_text
from sg.report.pages.verdict import LEVEL
from sg.report.wording import (
    SETTING_TITLES,
    covered_text,
    difference_text,
    joined,
    loss_difference_text,
    p_text,
    percent,
    plural,
)

METRIC_TITLES = {name: f"Accuracy {title.lower()}" for name, title in SETTING_TITLES.items()} | {
    HELD_OUT: "Held-out loss"
}
LEGEND = (
    "Accuracy in % of the answered questions, its differences in points; held-out loss in nats per token (lower is "
    "better). Behind the comma: the difference from no captions with the same model and the same choice, with its 95 % "
    "interval (not corrected). Models are never averaged."
)
DECISIONS_LEGEND = (
    "For every pair of choices, the small rung picks the better one, and the large rung picks one. Equal picks: their "
    "number and share, with a 95 % interval over choices; guessing has 50 %. The large rung's own pick may be chance: "
    "the last column counts only the pairs that it resolves (p < .05, not corrected)."
)
COVERAGE = (
    "in simulated ladders of 9 to 20 points they contain the true values in 92 to 98 %, and of 25 points in 85 to 93 %"
)
"""What the intervals of the joint law cover (`benchmarks/statistics/joint_law.py`)."""
COLUMNS = (
    "model", "weights", "choice", "arm", "scale", "control", "captions", "seeds", "metric", "value", "low", "high",
    "delta", "delta_low", "delta_high", "delta_p",
)  # fmt: skip


def ladder_markdown(summary: LadderSummary) -> str:
    """Return the ladder as Markdown with aligned tables."""
    choices = len(_choices(summary))
    sizes = joined([f"{cell_text(model)} ({weights:,})" for model, weights in summary.models.items()])
    parts = [
        f"# Ladder of {plural(len(summary.models), 'model')}" + (f" and {choices} choices" if choices > 1 else ""),
        f"Benchmark {cell_text(summary.benchmark)}. Weights of connector and language model, without the frozen vision "
        f"tower: {sizes}.",
        _scores(summary), LEGEND,
        "## Contrasts of each model", *_contrasts(summary),
    ]  # fmt: skip
    if summary.laws:
        parts += ["## Loss over model size and captions", *dict.fromkeys(law_sentence(law) for law in summary.laws)]
    if choices > 1:
        parts += ["## Decision accuracy", *_decisions(summary)]
    if summary.worth:
        parts += ["## What a point of caption precision is worth", *_worth(summary.worth)]
    if summary.notes:
        parts += ["## Notes", "\n".join(f"- {cell_text(note)}" for note in summary.notes)]
    return "\n\n".join(parts) + "\n"


def _choices(summary: LadderSummary) -> list[str]:
    return list(dict.fromkeys(row.choice for row in summary.rows))


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _metrics(summary: LadderSummary) -> list[str]:
    return [metric for metric in METRICS if any(metric in row.values for row in summary.rows)]


def _scores(summary: LadderSummary) -> str:
    metrics = _metrics(summary)
    choice = ["Choice"] if len(_choices(summary)) > 1 else []
    rows = [
        [*map(cell_text, [row.model, *([row.choice] if choice else []), row.label]), str(len(row.seeds)),
         *(_cell(row, metric) for metric in metrics)]
        for row in summary.rows
    ]  # fmt: skip
    return _grid(["Model", *choice, "Captions", "Seeds", *(METRIC_TITLES[name] for name in metrics)], rows)


def _cell(row: LadderRow, metric: str) -> str:
    if metric not in row.values:
        return ""
    value = row.values[metric].value
    text = f"{value:.3f}" if metric == HELD_OUT else percent(value)
    return text + (f", {_difference(metric, row.deltas[metric])}" if metric in row.deltas else "")


def _difference(metric: str, estimate: Estimate) -> str:
    return loss_difference_text(estimate) if metric == HELD_OUT else difference_text(estimate)


def _contrasts(summary: LadderSummary) -> list[str]:
    """A table with one row per contrast and one column per metric, and what its intervals cover."""
    if not summary.contrasts:
        return ["There is none: a contrast needs two finished arms of one model with a common seed."]
    metrics = _metrics(summary)
    by_what: dict[str, dict[str, str]] = {}
    for row in summary.contrasts:
        star = "*" if row.p_holm is not None and row.p_holm < LEVEL else ""
        by_what.setdefault(row.what, {})[row.metric] = _difference(row.metric, row.difference) + star
    rows = [[cell_text(what), *(cells.get(metric, "") for metric in metrics)] for what, cells in by_what.items()]
    known = [row.difference for row in summary.contrasts if row.difference.has_interval]
    legend = (
        f"95 % intervals over {covered_text(known)}; \\* p < .05 after Holm's correction over "
        f"{plural(len(known), 'contrast')}."
    )
    return [_grid(["Contrast", *(METRIC_TITLES[name] for name in metrics)], rows), legend]


def law_sentence(row: LadderLaw) -> str:
    """Return the fitted law with its intervals and its test, or why there is none."""
    law = row.law
    if law is None:
        return f"No joint law of model size and captions is fitted: {row.reason}."
    start = (f"{cell_text(row.choice)}: " if row.choice else "") + (
        "loss = E + a (N0 / N)^alpha + b (D0 / D)^beta for N weights and D distinct captions"
    )
    if law.is_rejected:
        assert law.p is not None
        unknown = "" if row.covers_seeds else " These errors leave out variance across training seeds: add seeds."
        return (
            f"{start} does not describe these {law.points} points: the residuals are larger than their errors "
            f"({p_text(law.p)}). Its fitted parameters are in ladder.json, but do not use them.{unknown}"
        )
    values = [
        f"{name} = {one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"
        for name, one in ((name, law.parameters[name]) for name in PARAMETERS)
    ]
    over = f"videos and training seeds; {COVERAGE}" if row.covers_seeds else "videos, not over seeds"
    text = (
        f"{start}, with N0 = {law.size:,.0f} and D0 = {law.captions:,.0f}, fitted to {law.points} points: "
        f"{joined(values)} (95 % intervals over {over}). "
    )
    if law.p is not None:
        text += f"The residuals do not reject it ({p_text(law.p)}). "
    if law.free:
        text += f"The points do not determine {joined(law.free)}: the interval reaches the bound of the fit. "
    return text + "The law says nothing outside of the fitted sizes and numbers of captions."


def _decisions(summary: LadderSummary) -> list[str]:
    if not summary.decisions:
        return [
            "Not computed: it needs three or more choices with a common seed at two or more sizes or scales, and "
            "different models at the largest."
        ]
    rows = [
        [cell_text(row.small), METRIC_TITLES[row.picked_by], cell_text(row.large), METRIC_TITLES[row.metric],
         f"{row.share.value / 100 * row.pairs:g} of {row.pairs} ({row.choices} choices)",
         f"{row.share.value:.0f} % [{row.share.low:.0f}, {row.share.high:.0f}]",
         f"{row.resolved_equal} of {row.resolved}"]
        for row in summary.decisions
    ]  # fmt: skip
    header = ["Small", "picks by", "Large", "picks by", "Equal picks", "Share", "Equal among resolved"]
    return [_grid(header, rows), DECISIONS_LEGEND]


def _worth(found: Sequence[Worth]) -> list[str]:
    rows = [
        [METRIC_TITLES[row.metric], _slope(row.metric, row.per_point), _slope(row.metric, row.per_doubling),
         "not determined" if (more := row.more_captions) is None else
         f"{more.value:+.0f} % [{more.low:+.0f}, {more.high:+.0f}]"]
        for row in found
    ]  # fmt: skip
    first = found[0]
    precisions = joined([f"{cell_text(choice)} ({value:.1f} %)" for choice, value in first.precisions.items()])
    over = "videos and training seeds" if first.covers_seeds else "videos, not over seeds"
    text = (
        f"Mean precision of the captions: {precisions}. Fitted to the arms with the steps of the largest scale; 95 % "
        f"intervals over {over}. The last column is how many more captions have the effect of one point of precision, "
        "so at equal money a captioner that is one point more precise may cost so much more per caption. It is not "
        "determined where the effect of more captions is not resolved."
    )
    if first.usd_per_thousand:
        text += f" These captions cost ${first.usd_per_thousand:.3f} per 1,000."
    return [_grid(["Metric", "Per point of precision", "Per doubling of captions", "A point in captions"], rows), text]


def _slope(metric: str, value: Estimate) -> str:
    digits = 4 if metric == HELD_OUT else 2
    return f"{value.value:+.{digits}f} [{value.low:+.{digits}f}, {value.high:+.{digits}f}]"


def ladder_csv(summary: LadderSummary) -> str:
    """Return CSV with one row per arm and metric; numbers are not rounded."""
    return csv_text(COLUMNS, _csv_rows(summary))


def _csv_rows(summary: LadderSummary) -> Iterator[list[object]]:
    for row in summary.rows:
        for metric, value in row.values.items():
            delta = row.deltas.get(metric)
            gap = (None,) * 4 if delta is None else (delta.value, delta.low, delta.high, delta.p)
            own = [row.model, row.weights, row.choice, row.arm, row.scale, row.control, row.captions, len(row.seeds)]
            yield [*own, metric, value.value, value.low, value.high, *gap]
