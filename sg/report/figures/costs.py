"""Figures of the gain against its cost (device hours, US dollars) and by task type."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sg.artefacts.arms import ARM_KINDS
from sg.artefacts.predictions import OVERALL
from sg.report.figures.style import (
    INK,
    SETTING_COLOURS,
    control_style,
    figure_style,
    new_figure,
    save,
)
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import CostRow, Summary, TopicRow
from sg.report.numbers.topics import TASK_TYPE
from sg.report.wording import SETTING_TITLES, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALE, DARK = "#fefefe", "#1b1c20"
"""Text colours on the cells of a heat map. The cells have fixed colours, so the text must not follow the page's light
or dark scheme, as `PAPER` and `INK` do."""


def draw_costs(summary: Summary, folder: Path, usd_per_hour: float | None = None) -> dict[str, list[Path]]:
    """Draw the figures that the summary has numbers for; return name -> files (PNG, SVG) in `folder`."""
    figures: dict[str, Any] = {}
    if gains(summary) and summary.costs:
        figures["costs"] = costs_figure(summary, usd_per_hour)
    if any(row.kind == TASK_TYPE and row.delta is not None for row in summary.topics):
        figures["tasks"] = tasks_figure(summary.topics)
    return {name: save(figure, folder, name) for name, figure in figures.items()}


def gains(summary: Summary) -> dict[tuple[str, str], Estimate]:
    """Return (setting, arm) -> overall difference from no captions in points."""
    rows = [(table.setting, row.arm, row.cells[OVERALL].delta) for table in summary.tables for row in table.rows]
    return {(setting, arm): delta for setting, arm, delta in rows if delta is not None}


def costs_figure(summary: Summary, usd_per_hour: float | None = None) -> "Figure":
    """Difference from no captions against device hours of a run and, if there are prices, against US dollars."""
    device = summary.costs[0].device.upper()
    unit, factor = _time_unit(max(row.hours for row in summary.costs))
    panels: list[tuple[str, Callable[[CostRow], float]]] = [
        (f"{device} {unit} per run, including shared stages", lambda row: factor * row.hours)
    ]
    if usd_per_hour or any(row.caption_usd for row in summary.costs):
        panels.append(("US dollars per run: captions and hours", lambda row: row.usd(usd_per_hour or 0.0)))
    with figure_style():
        figure, axes = new_figure(len(panels), (1.6 + 4.6 * len(panels), 3.6), share="y")
        for panel, (label, cost) in zip(axes, panels, strict=True):
            _cost_panel(panel, summary, cost)
            panel.set_xlabel(label)
        axes[0].set_ylabel("difference from no captions, points")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    return figure


def _time_unit(hours: float) -> tuple[str, float]:
    """Name of the unit for a time of this length, and the factor from hours to it."""
    if hours >= 2:
        return "hours", 1.0
    return ("minutes", 60.0) if hours >= 1 / 30 else ("seconds", 3600.0)


def _cost_panel(axes: "Axes", summary: Summary, cost: Callable[[CostRow], float]) -> None:
    found = gains(summary)
    for number, setting in enumerate(dict.fromkeys(setting for setting, _ in found)):
        rows = sorted((row for row in summary.costs if (setting, row.arm) in found), key=cost)
        headline = [row for row in rows if row.control is None]
        _points(axes, headline, found, setting, cost, SETTING_COLOURS[setting], "o", SETTING_TITLES[setting])
        axes.plot([cost(row) for row in headline], [found[setting, row.arm].value for row in headline],
                  color=SETTING_COLOURS[setting], linewidth=1.0, alpha=0.6)  # fmt: skip
        for row in rows:
            axes.annotate(
                row.label.split(" ")[0], (cost(row), found[setting, row.arm].value), textcoords="offset points",
                xytext=(-4, 6) if number == 0 else (4, -11), ha="right" if number == 0 else "left", fontsize=7.5,
            )  # fmt: skip
        for control in dict.fromkeys(row.control for row in rows if row.control):
            name = ARM_KINDS[control].legend
            chosen = [row for row in rows if row.control == control]
            label = name if setting == next(iter(found))[0] else None
            _points(axes, chosen, found, setting, cost, *control_style(control), label)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(left=0)
    axes.grid(axis="x")


def _points(
    axes: "Axes",
    rows: Sequence[CostRow],
    found: Mapping[tuple[str, str], Estimate],
    setting: str,
    cost: Callable[[CostRow], float],
    colour: str,
    marker: str,
    label: str | None,
) -> None:
    if not rows:
        return
    estimates = [found[setting, row.arm] for row in rows]
    errors = [[item.value - item.low for item in estimates], [item.high - item.value for item in estimates]]
    axes.errorbar([cost(row) for row in rows], [item.value for item in estimates], yerr=errors, color=colour,
                  marker=marker, markersize=5.5, elinewidth=1.1, linestyle="none", label=label, zorder=3)  # fmt: skip


def tasks_figure(topics: Sequence[TopicRow]) -> "Figure":
    """Heat map of the difference from no captions by task type and scale, one panel per setting; exploratory."""
    rows = [row for row in topics if row.kind == TASK_TYPE and row.control is None and row.delta is not None]
    settings, names = list(dict.fromkeys(row.setting for row in rows)), sorted({row.name for row in rows})
    arms = list(dict.fromkeys((row.arm, row.label) for row in sorted(rows, key=lambda row: row.scale)))
    values = {(row.setting, row.name, row.arm): row.delta.value for row in rows if row.delta is not None}
    limit = max(1.0, max(abs(value) for value in values.values()))
    with figure_style():
        figure, axes = new_figure(
            len(settings), (3.0 + 0.8 * len(arms) * len(settings), 1.3 + 0.36 * len(names)), share="y"
        )
        for panel, setting in zip(axes, settings, strict=True):
            grid = np.array([[values.get((setting, name, arm), np.nan) for arm, _ in arms] for name in names])
            panel.imshow(grid, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
            for (down, across), value in np.ndenumerate(grid):
                if not np.isnan(value):
                    colour = PALE if abs(value) > 0.7 * limit else DARK
                    panel.text(across, down, signed(float(value)), ha="center", va="center", fontsize=7.5, color=colour)
            panel.set_xticks(range(len(arms)), [label.split(" ")[0] for _, label in arms])
            panel.set_xlabel("number of captions")
            panel.set_title(SETTING_TITLES[setting])
            panel.grid(visible=False)
        counts = {row.name: row.questions for row in rows}
        axes[0].set_yticks(range(len(names)), [f"{name} ({counts[name]})" for name in names])
    return figure
