"""The held-out caption loss over the number of captions, with the control arms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.arms import ARM_KINDS
from sg.report.figures.style import BLUE, GREY, control_style, figure_style, new_figure, save
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import LossTable, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "held_out_loss"


def draw_held_out(summary: Summary, folder: Path) -> dict[str, list[Path]]:
    """Write the figure to `folder`, if the study has held-out captions; return its files by name."""
    if summary.held_out is None:
        return {}
    with figure_style():
        return {NAME: save(held_out_figure(summary.held_out), folder, NAME)}


def held_out_figure(table: LossTable) -> Figure:
    """Losses of the headline arms as a line, controls as points beside them; intervals are 95 % over videos."""
    figure, (axes,) = new_figure(1, (6.4, 3.6))
    scales = sorted({row.scale for row in table.rows})
    places = {scale: place for place, scale in enumerate(scales)}
    headline = [row for row in table.rows if row.control is None]
    axes.errorbar(
        [places[row.scale] for row in headline], [row.loss.value for row in headline],
        yerr=_errors([row.loss for row in headline]), color=BLUE, marker="o", label="one pass over the captions",
    )  # fmt: skip
    controls = list(dict.fromkeys(row.control for row in table.rows if row.control))
    for number, control in enumerate(controls):
        colour, marker = control_style(control)
        rows = [row for row in table.rows if row.control == control]
        axes.errorbar(
            [places[row.scale] + 0.12 * (number + 1) for row in rows], [row.loss.value for row in rows],
            yerr=_errors([row.loss for row in rows]), color=colour, marker=marker, linestyle="none",
            label=ARM_KINDS[control].legend,
        )  # fmt: skip
    labels = {row.scale: "none" if row.scale == 0 else row.label.split(" ")[0] for row in headline}
    axes.set_xticks(range(len(scales)), [labels.get(scale, f"{scale:,}") for scale in scales])
    axes.set_xlabel("captions")
    axes.set_ylabel("loss, nats per token (lower is better)")
    axes.set_title(f"Loss on {table.captions:,} held-out captions")
    axes.grid(axis="y", color=GREY, alpha=0.2)
    axes.legend(frameon=False)
    return figure


def _errors(estimates: list[Estimate]) -> list[list[float]]:
    """[2, n] distances from the values to the ends of their intervals; 0 where there is no interval."""
    low = [one.value - one.low if one.has_interval else 0.0 for one in estimates]
    return [low, [one.high - one.value if one.has_interval else 0.0 for one in estimates]]
