"""Figures of the gain against its cost (device hours, US dollars) and by task type."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sg.artefacts.arms import ARM_KINDS
from sg.artefacts.predictions import OVERALL
from sg.report.figures.style import (
    GREY,
    INK,
    SETTING_COLOURS,
    WIDE,
    Layout,
    control_style,
    error_bars,
    figure_style,
    grow,
    legend_below,
    new_figure,
    overlapping,
    save,
    turn_crowded_ticks,
)
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import CostRow, Summary, TopicRow
from sg.report.numbers.topics import TASK_TYPE
from sg.report.wording import SETTING_TITLES, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

LINE = 10
"""Distance of the lines of names above a panel, in points."""
PALE, DARK = "#fefefe", "#1b1c20"
"""Text colours on the cells of a heat map. The cells have fixed colours, so the text must not follow the page's light
or dark scheme, as `PAPER` and `INK` do."""


def draw_costs(summary: Summary, folder: Path, usd_per_hour: float | None = None) -> dict[str, list[Path]]:
    """Draw the figures that the summary has numbers for; return name -> files (PNG, two SVG) in `folder`."""
    figures: dict[str, Callable[[Layout], Figure]] = {}
    if gains(summary) and summary.costs:
        figures["costs"] = lambda layout: costs_figure(summary, usd_per_hour, layout)
    if any(row.kind == TASK_TYPE and row.delta is not None for row in summary.topics):
        figures["tasks"] = lambda layout: tasks_figure(summary.topics, layout)
    return {name: save(draw, folder, name) for name, draw in figures.items()}


def gains(summary: Summary) -> dict[tuple[str, str], Estimate]:
    """Return (setting, arm) -> overall difference from no captions in points."""
    rows = [(table.setting, row.arm, row.cells[OVERALL].delta) for table in summary.tables for row in table.rows]
    return {(setting, arm): delta for setting, arm, delta in rows if delta is not None}


def costs_figure(summary: Summary, usd_per_hour: float | None = None, layout: Layout = WIDE) -> "Figure":
    """Difference from no captions against device hours of a run and, if there are prices, against US dollars."""
    device = summary.costs[0].device.upper()
    unit, factor = _time_unit(max(row.hours for row in summary.costs))
    panels: list[tuple[str, Callable[[CostRow], float]]] = [
        (f"{device} {unit} per run, including shared stages", lambda row: factor * row.hours)
    ]
    if usd_per_hour or any(row.caption_usd for row in summary.costs):
        panels.append(("US dollars per run: captions and hours", lambda row: row.usd(usd_per_hour or 0.0)))
    titles = SETTING_TITLES.values()
    with figure_style():
        figure, axes = new_figure(len(panels), 3.9, layout)
        for panel, (label, cost) in zip(axes, panels, strict=True):
            _cost_panel(panel, summary, cost)
            panel.set_xlabel(label)
            if layout.stacked or panel is axes[0]:
                panel.set_ylabel("difference from no captions, points")
        entries = sorted(
            zip(*axes[0].get_legend_handles_labels(), strict=True), key=lambda entry: entry[1] not in titles
        )
        legend_below(figure, layout, [], {label: handle for handle, label in entries})
        turn_crowded_ticks(figure, layout)
        arms = {arm for _, arm in gains(summary)}
        lines = [
            _name_above(panel, [(cost(row), row.label.partition(" (")[0]) for row in summary.costs if row.arm in arms])
            for panel, (_, cost) in zip(axes, panels, strict=True)
        ]
        grow(figure, layout, LINE / 72 * max(lines))
    return figure


def _name_above(axes: "Axes", names: Sequence[tuple[float, str]]) -> int:
    """Write names above the panel at their places on the x axis, in as many lines as they need; return the lines."""
    ends: list[Bbox] = []  # the last box in each line
    for place, name in sorted(names):
        axes.axvline(place, color=GREY, linewidth=0.6, linestyle=":", zorder=1)
        text = axes.annotate(name, (place, 1.0), xycoords=("data", "axes fraction"), textcoords="offset points",
                             xytext=(0, 3), ha="center", va="bottom", fontsize=7.5)  # fmt: skip
        box = text.get_window_extent()
        line = next((number for number, end in enumerate(ends) if not overlapping([end, box], gap=8)), len(ends))
        ends[line : line + 1] = [box]
        text.set_position((0, 3 + LINE * line))
    return len(ends)


def _time_unit(hours: float) -> tuple[str, float]:
    """Name of the unit for a time of this length, and the factor from hours to it."""
    if hours >= 2:
        return "hours", 1.0
    return ("minutes", 60.0) if hours >= 1 / 30 else ("seconds", 3600.0)


def _cost_panel(axes: "Axes", summary: Summary, cost: Callable[[CostRow], float]) -> None:
    found = gains(summary)
    settings = list(dict.fromkeys(setting for setting, _ in found))
    # The points of two settings stand a little apart, because the intervals of one would cover those of the other.
    beside = 0.004 * max(cost(row) for row in summary.costs)
    for number, setting in enumerate(settings):
        shift = beside * (2 * number - len(settings) + 1)
        rows = sorted((row for row in summary.costs if (setting, row.arm) in found), key=cost)
        headline = [row for row in rows if row.control is None]

        def at(row: CostRow, shift: float = shift) -> float:
            return cost(row) + shift

        _points(axes, headline, found, setting, at, SETTING_COLOURS[setting], "o", SETTING_TITLES[setting])
        axes.plot([at(row) for row in headline], [found[setting, row.arm].value for row in headline],
                  color=SETTING_COLOURS[setting], linewidth=1.0, alpha=0.6)  # fmt: skip
        for control in dict.fromkeys(row.control for row in rows if row.control):
            name = ARM_KINDS[control].legend
            chosen = [row for row in rows if row.control == control]
            label = name if number == 0 else None
            _points(axes, chosen, found, setting, at, *control_style(control), label)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(left=0)


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
    axes.errorbar([cost(row) for row in rows], [item.value for item in estimates], yerr=error_bars(estimates),
                  color=colour, marker=marker, markersize=5.5, elinewidth=1.1, linestyle="none", label=label,
                  zorder=3)  # fmt: skip


def tasks_figure(topics: Sequence[TopicRow], layout: Layout = WIDE) -> "Figure":
    """Heat map of the difference from no captions by task type and scale, one panel per setting; exploratory."""
    rows = [row for row in topics if row.kind == TASK_TYPE and row.control is None and row.delta is not None]
    settings, names = list(dict.fromkeys(row.setting for row in rows)), sorted({row.name for row in rows})
    arms = list(dict.fromkeys((row.arm, row.label) for row in sorted(rows, key=lambda row: row.scale)))
    values = {(row.setting, row.name, row.arm): row.delta.value for row in rows if row.delta is not None}
    limit = max(1.0, max(abs(value) for value in values.values()))
    with figure_style():
        figure, axes = new_figure(len(settings), 1.1 + 0.36 * len(names), layout)
        for panel, setting in zip(axes, settings, strict=True):
            grid = np.array([[values.get((setting, name, arm), np.nan) for arm, _ in arms] for name in names])
            panel.imshow(grid, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
            upright = layout.width / (len(arms) * (1 if layout.stacked else len(settings))) < 0.5
            for (down, across), value in np.ndenumerate(grid):
                if not np.isnan(value):
                    colour = PALE if abs(value) > 0.7 * limit else DARK
                    panel.text(across, down, signed(float(value)), ha="center", va="center", fontsize=7.5, color=colour,
                               rotation=90 if upright else 0)  # fmt: skip
            panel.set_xticks(range(len(arms)), [label.split(" ")[0] for _, label in arms])
            panel.set_xlabel("number of captions")
            panel.set_title(SETTING_TITLES[setting])
            panel.grid(visible=False)
        counts = {row.name: row.questions for row in rows}
        axes[0].set_yticks(range(len(names)), [_two_lines(f"{name} ({counts[name]})", layout) for name in names])
        turn_crowded_ticks(figure, layout)
    return figure


def _two_lines(label: str, layout: Layout) -> str:
    """Wrap a long label where panels are stacked, because it would take the width of the panel."""
    return "\n".join(textwrap.wrap(label, 18)) if layout.stacked else label
