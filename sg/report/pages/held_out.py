"""The held-out caption loss as text, Markdown, CSV and sentences."""

import textwrap
from collections.abc import Iterator

from sg.artefacts.arms import ARM_KINDS, CAPTIONS
from sg.report.numbers.summary import ControlRow, LossRow, LossTable, Shape, Summary
from sg.report.pages.verdict import LEVEL, is_fair, overfitted
from sg.report.wording import holm_text, joined, loss_difference_text, loss_text, once_text, p_text, plural

COLUMNS = (
    "group", "name", "captions", "arm", "scale", "control", "seeds", "loss", "loss_low", "loss_high", "per_caption",
    "delta", "delta_low", "delta_high", "delta_p",
)  # fmt: skip
HEADINGS = ("Captions", "Seeds", "Loss per token", "Minus no captions", "Loss per caption")


def loss_legend(table: LossTable) -> str:
    """Explain the numbers of the table: unit, denominator, direction, intervals."""
    return (
        f"mean negative log-likelihood in nats per token over {plural(table.captions, 'caption')} "
        f"({plural(table.tokens, 'token')}) of videos that no run trained on; lower is better; 95 % intervals of "
        "losses over videos, those of differences (over the seeds that both have) also over training seeds if there "
        "are several; p after Holm's correction over scales and controls"
    )


def loss_cells(row: LossRow) -> list[str]:
    """One row of the table, under `HEADINGS`."""
    delta = "" if row.delta is None else loss_difference_text(row.delta)
    delta += "" if row.p_holm is None else f", {p_text(row.p_holm)}"
    return [row.label, str(len(row.seeds)), loss_text(row.loss), delta, f"{row.per_caption:.2f}"]


def control_text(row: ControlRow) -> str:
    """`530k - 50k equal-step: -0.151 [-0.185, -0.117] nats per token, p < .001 after Holm`."""
    pair = f"{row.headline_label} - {row.control_label}"
    return f"{pair}: {loss_difference_text(row.difference)} nats per token, {holm_text(row.p_holm)}"


def loss_lines(table: LossTable) -> str:
    """The table and its controls for the terminal."""
    rows = [HEADINGS, *(tuple(loss_cells(row)) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(len(HEADINGS))]
    lines = ["Held-out captions", *textwrap.wrap(loss_legend(table), 100)]
    lines += ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"  {control_text(row)}" for row in table.controls)])


def loss_rows(summary: Summary) -> Iterator[list[object]]:
    """The rows of `held_out.csv`, under `COLUMNS`: all captions, then every source and length; nothing is rounded."""
    table = summary.held_out
    if table is None:
        return
    for group, name, captions, rows in [
        ("overall", "", table.captions, table.rows),
        *((group.kind, group.name, group.captions, group.rows) for group in table.groups),
    ]:
        for row in rows:
            delta = (None,) * 4 if row.delta is None else (row.delta.value, row.delta.low, row.delta.high, row.delta.p)
            loss = row.loss.value, row.loss.low, row.loss.high
            seeds = len(row.seeds)
            yield [group, name, captions, row.arm, row.scale, row.control, seeds, *loss, row.per_caption, *delta]


def loss_sentences(table: LossTable) -> list[tuple[str, bool]]:
    """What the held-out losses show, each with whether it limits the verdict."""
    sentences = []
    largest = next((row for row in reversed(table.rows) if row.control is None and row.delta is not None), None)
    if largest is not None and largest.delta is not None:
        change = f"{largest.label} minus no captions is {loss_difference_text(largest.delta)} nats per token"
        where = f"on {plural(table.captions, 'held-out caption')}"
        is_lower = largest.delta.is_negative and largest.p_holm is not None and largest.p_holm < LEVEL
        sentences.append((f"{change} {where}, {holm_text(largest.p_holm)}{once_text(largest.delta)}.", not is_lower))
    for row in table.controls:
        meaning, is_lower = _meaning(row)
        sentences.append((f"{control_text(row)}: {meaning}.", not is_lower))
    sentences += [(text, True) for text in _overfitted(table)]
    if table.shapes:
        text, is_rejected = _shapes(table.shapes)
        once = "" if largest is None or largest.delta is None else once_text(largest.delta)
        sentences.append((f"{text}{once}.", is_rejected))
    return sentences


def _overfitted(table: LossTable) -> Iterator[str]:
    """The equal-step controls that overfit their captions."""
    for row, fewer in overfitted(table):
        yield (
            f"{row.label} has a loss of {loss_text(row.loss)} nats per token, {fewer.label} with fewer steps "
            f"{loss_text(fewer.loss)}: repetition overfits these captions. A difference from this control compares "
            "new captions with repeated ones; it does not show that fewer passes over few captions are as bad."
        )


def _meaning(row: ControlRow) -> tuple[str, bool]:
    """What the difference of a control in the loss shows, and whether it is a resolved gain that an arm carries."""
    kind = ARM_KINDS[row.kind]
    if not is_fair(row):
        return "the steps differ, so the effects of captions and of steps are not separated", False
    if not row.difference.has_interval:
        return "the losses carry no interval", False
    if row.p_holm is None or row.p_holm >= LEVEL:
        return f"an effect of {kind.asks} on the loss is neither resolved nor excluded", False
    change = "lower" if row.difference.is_negative else "higher"
    what = f"the curated core than with a {kind.legend} of the same size" if kind.fixed == CAPTIONS else kind.asks
    return f"the loss is {change} with {what}{once_text(row.difference)}", change == "lower"


def _shapes(shapes: list[Shape]) -> tuple[str, bool]:
    """Which curves chi-squared rejects as descriptions of the losses; whether it rejects all that it can test."""
    tested = [shape for shape in shapes if shape.p is not None]
    kept = [f"a {shape.name}" for shape in tested if (shape.p or 0.0) >= LEVEL]
    rejected = [f"a {shape.name}" for shape in tested if (shape.p or 0.0) < LEVEL]
    untested = [f"a {shape.name}" for shape in shapes if shape.p is None]
    parts = [f"rejects {joined(rejected)}"] if rejected else []
    parts += [f"does not reject {joined(kept)}"] if kept else []
    parts += [f"cannot test {joined(untested)}, which has as many parameters as points"] if untested else []
    return f"As the curve of the loss over the number of captions, chi-squared {joined(parts)}", not kept
