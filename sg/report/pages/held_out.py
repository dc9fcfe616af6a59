"""The held-out caption loss as text, Markdown, CSV and sentences."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from sg.artefacts.arms import ARM_KINDS
from sg.report.numbers.summary import ControlRow, LossRow, LossTable, Summary
from sg.report.wording import joined, loss_difference_text, loss_text, p_text, plural

LEVEL = 0.05
COLUMNS = (
    "group", "name", "captions", "arm", "scale", "control", "seeds", "loss", "loss_low", "loss_high", "per_caption",
    "delta", "delta_low", "delta_high", "delta_p",
)  # fmt: skip
HEADINGS = ("Captions", "Seeds", "Loss per token", "Minus no captions", "Loss per caption")


def loss_legend(table: LossTable) -> str:
    """Explain the numbers of the table: unit, denominator, direction, intervals."""
    return (
        f"mean negative log-likelihood in nats per token over {plural(table.captions, 'caption')} "
        f"({plural(table.tokens, 'token')}) of videos that no run trained on; lower is better; differences over the "
        "seeds that both have, 95 % intervals over videos and, with several seeds, over training seeds"
    )


def loss_cells(row: LossRow) -> list[str]:
    """One row of the table, under `HEADINGS`."""
    delta = "" if row.delta is None else f"{loss_difference_text(row.delta)}, {p_text(row.delta.p)}"
    return [row.label, str(len(row.seeds)), loss_text(row.loss), delta, f"{row.per_caption:.2f}"]


def control_text(row: ControlRow) -> str:
    """`530k - 50k equal-step: -0.151 [-0.185, -0.117], p < .001`."""
    pair = f"{row.headline_label} - {row.control_label}"
    return f"{pair}: {loss_difference_text(row.difference)}, {p_text(row.difference.p)}"


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
        sentences.append((f"{change} {where}, {p_text(largest.delta.p)}.", False))
    for row in table.controls:
        asks, p = ARM_KINDS[row.kind].asks, row.difference.p
        if p is None or p >= LEVEL:
            meaning = f"an effect of {asks} on the loss is not resolved"
        else:
            meaning = f"{asks} {'lower' if row.difference.is_negative else 'raise'} the loss"
        sentences.append((f"{control_text(row)}: {meaning}.", not row.difference.is_negative))
    fitting = [shape for shape in table.shapes if shape.p is None or shape.p >= LEVEL]
    if table.shapes:
        names = joined([f"a {shape.name}" for shape in fitting])
        fit = f"is described by {names} (chi-squared)" if fitting else "is described by none of the fitted curves"
        sentences.append((f"The loss over the number of captions {fit}.", not fitting))
    return sentences
