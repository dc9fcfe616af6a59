"""The held-out caption loss over the number of captions, with the control arms."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.arms import ARM_KINDS
from sg.report.figures.style import (
    BLUE,
    WIDE,
    Layout,
    control_style,
    error_bars,
    figure_style,
    legend_below,
    new_figure,
    save,
    turn_crowded_ticks,
)
from sg.report.numbers.summary import LossTable, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "held_out_loss"


def draw_held_out(summary: Summary, folder: Path) -> dict[str, list[Path]]:
    """Write the figure to `folder`, if the study has held-out captions; return its files by name."""
    if summary.held_out is None:
        return {}
    return {NAME: save(partial(held_out_figure, summary.held_out), folder, NAME)}


def held_out_figure(table: LossTable, layout: Layout = WIDE) -> Figure:
    """Losses of the headline arms as a line, controls as points at the right; intervals are 95 %."""
    arms = [row for row in table.rows if row.control is None] + [row for row in table.rows if row.control]
    with figure_style():
        figure, (axes,) = new_figure(1, 3.6, layout)
        for control in dict.fromkeys(row.control for row in arms):
            found = [(place, row.loss) for place, row in enumerate(arms) if row.control == control]
            colour, marker = control_style(control) if control else (BLUE, "o")
            axes.errorbar(
                [place for place, _ in found], [loss.value for _, loss in found],
                yerr=error_bars([loss for _, loss in found]), color=colour, marker=marker, elinewidth=1.1,
                linestyle="none" if control else "-",
                label=ARM_KINDS[control].legend if control else "as many passes over every subset",
            )  # fmt: skip
        names = ["none" if row.scale == 0 and not row.control else row.label.partition(" (")[0] for row in arms]
        axes.set_xticks(range(len(arms)), names)
        axes.set_xlabel("number of captions")
        axes.set_ylabel("loss, nats per token (lower is better)")
        axes.set_title(f"Loss on {table.captions:,} held-out captions")
        legend_below(figure, layout, [axes])
        turn_crowded_ticks(figure, layout)
    return figure
