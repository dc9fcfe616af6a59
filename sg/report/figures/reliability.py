"""The reliability diagram: how often a model is right, by how sure it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.answer_rules.calibration import AGREEING
from sg.report.figures.style import BLUE, GREY, ORANGE, WIDE, Layout, figure_style, legend_below, new_figure, save
from sg.report.numbers.statistics import wilson_interval
from sg.report.numbers.summary import CalibrationRow, Summary
from sg.report.wording import SETTING_TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "reliability"
KINDS = {"letter": "letters", "text": "texts of the options"}


def draw_reliability(summary: Summary, folder: Path) -> dict[str, list[Path]]:
    """Write the figure to `folder`, if the models gave probabilities; return its files by name."""
    rows = shown_rows(summary)
    return {NAME: save(partial(reliability_figure, rows), folder, NAME)} if rows else {}


def shown_rows(summary: Summary) -> list[CalibrationRow]:
    """The rows of the first and the last headline arm (no captions and the largest scale) that mean something.

    Letters are left out if the answers do not begin with them (`AGREEING`).
    """
    arms = list(dict.fromkeys(row.arm for row in summary.calibrations if row.control is None))
    rows = [row for row in summary.calibrations if row.arm in (*arms[:1], *arms[-1:])]
    strange = {(row.of, row.setting) for row in rows if row.of == "letter" and row.calibration.agreement < AGREEING}
    return [row for row in rows if (row.of, row.setting) not in strange]


def reliability_figure(rows: list[CalibrationRow], layout: Layout = WIDE) -> Figure:
    """One panel per setting and kind of probability; a bin is a point, and lies on the diagonal if calibrated."""
    panels = list(dict.fromkeys((row.of, row.setting) for row in rows))
    colours = dict(zip(dict.fromkeys(row.arm for row in rows), (ORANGE, BLUE), strict=False))
    with figure_style():
        figure, axes = new_figure(len(panels), 3.6, layout)
        for panel, (of, setting) in zip(axes, panels, strict=True):
            panel.plot([0, 100], [0, 100], color=GREY, linewidth=0.9, linestyle="--", label="as right as sure")
            for row in rows:
                if (row.of, row.setting) == (of, setting):
                    _draw_arm(panel, row, colours[row.arm])
            panel.set(xlim=(0, 100), ylim=(0, 100), xlabel=f"probability of the likeliest option, %\n({KINDS[of]})")
            panel.set_title(SETTING_TITLES[setting])
            if layout.stacked or panel is axes[0]:
                panel.set_ylabel("right, % of the questions")
        legend_below(figure, layout, axes)
    return figure


def _draw_arm(panel: Axes, row: CalibrationRow, colour: str) -> None:
    """The bins of an arm; the area of a point is its share of the questions, lines are Wilson's 95 % intervals."""
    bins, total = row.calibration.bins, row.calibration.questions
    x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
    for one in bins:
        bounds = wilson_interval(round(one.accuracy * one.questions / 100), one.questions)
        ends = [100 * bounds.low, 100 * bounds.high]
        panel.plot([one.confidence] * 2, ends, color=colour, linewidth=1.1, alpha=0.7)
    panel.plot(x, y, color=colour, linewidth=1.3, label=row.label)
    panel.scatter(x, y, s=[20 + 220 * one.questions / total for one in bins], color=colour, alpha=0.7, zorder=3)
