"""The figures of a study, drawn from its summary: scaling curve, durations, differences, controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sg.artefacts.arms import ARM_KINDS
from sg.artefacts.predictions import DURATIONS, OVERALL
from sg.report.figures.style import (
    GREY,
    INK,
    PAPER,
    SETTING_COLOURS,
    control_style,
    figure_style,
    new_figure,
    save,
)
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import Cell, ControlRow, Summary, Table, TableRow, headline_rows
from sg.report.wording import BUCKET_TITLES, SETTING_TITLES, difference_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST_STEP = 0.75
"""Smallest distance between two scales on the axis, in doublings, so that their labels do not overlap."""


def draw_all(summary: Summary, folder: Path) -> dict[str, list[Path]]:
    """Draw every figure that the summary has data for; return name -> files (PNG, SVG) in `folder`."""
    tables = [table for table in summary.tables if headline_rows(table)]
    if not tables:
        return {}
    figures: dict[str, Any] = {"scaling": scaling_figure(tables)}
    if any(row.cells[OVERALL].delta for table in tables for row in table.rows):
        figures["durations"] = durations_figure(tables)
        figures["differences"] = differences_figure(tables)
    if any(row.control_gain is not None for row in summary.controls):
        figures["controls"] = controls_figure(summary.controls)
    return {name: save(figure, folder, name) for name, figure in figures.items()}


def scale_positions(scales: Sequence[int]) -> dict[int, float]:
    """Return scale -> position on the x axis: 0 first, then in doublings, never closer than `SMALLEST_STEP`."""
    positions: dict[int, float] = {}
    last: tuple[int, float] | None = None
    for scale in sorted(set(scales)):
        step = 1.0 if last is None or last[0] == 0 else max(SMALLEST_STEP, min(2.0, float(np.log2(scale / last[0]))))
        place = 0.0 if last is None else last[1] + step
        positions[scale] = place
        last = (scale, place)
    return positions


def _scale_axis(axes: "Axes", tables: Sequence[Table]) -> dict[int, float]:
    labels = {row.scale: "none" if row.scale == 0 else row.scale_label for table in tables for row in table.rows}
    positions = scale_positions(list(labels))
    axes.set_xticks(list(positions.values()), [labels[scale] for scale in positions])
    axes.set_xlim(-0.4, max(positions.values()) + 0.4)
    axes.set_xlabel("number of captions")
    return positions


def _points(rows: Sequence[TableRow], bucket: str) -> list[tuple[TableRow, Cell, float]]:
    """The rows with a score in `bucket`, with cell and score."""
    cells = [(row, row.cells[bucket]) for row in rows]
    return [(row, cell, cell.score) for row, cell in cells if cell.score is not None]


def _bounds(value: float, estimate: Estimate | None) -> tuple[float, float]:
    return (value, value) if estimate is None else (estimate.low, estimate.high)


def scaling_figure(tables: Sequence[Table]) -> "Figure":
    """Accuracy against captions, one panel per setting: mean over seeds, 95 % interval, seeds, controls, published."""
    with figure_style():
        figure, panels = new_figure(len(tables), (1.2 + 3.7 * len(tables), 3.5), share="")
        for axes, table in zip(panels, tables, strict=True):
            _scaling_panel(axes, table, _scale_axis(axes, tables))
        panels[0].set_ylabel("accuracy, % of answered questions")
        handles = {"mean over seeds, 95 % interval over videos": _ink_line()}
        for axes in panels:
            handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(5, len(handles)))
    return figure


def _ink_line() -> Any:
    """Legend entry for the line that has a different colour in each panel."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, marker="o", markersize=5)


def _scaling_panel(axes: "Axes", table: Table, positions: dict[int, float]) -> None:
    colour = SETTING_COLOURS[table.setting]
    points = _points(headline_rows(table), OVERALL)
    x = [positions[row.scale] for row, _, _ in points]
    y = [score for _, _, score in points]
    bounds = [_bounds(score, cell.accuracy) for _, cell, score in points]
    axes.fill_between(
        x, [low for low, _ in bounds], [high for _, high in bounds], color=colour, alpha=0.15, linewidth=0
    )
    axes.plot(x, y, color=colour, marker="o", markersize=5, zorder=3)
    for place, (_, cell, _) in zip(x, points, strict=True):
        if len(cell.seed_scores) > 1:
            _seed_dots(axes, place, cell.seed_scores)
    _control_points(axes, table, positions)
    published = [(positions[row.scale], cell.published) for row, cell, _ in points if cell.published is not None]
    if published:
        axes.plot(
            *zip(*published, strict=True),
            color=GREY,
            marker="o",
            markerfacecolor=PAPER,
            linestyle=":",
            label="published",
        )
    if points and points[0][0].scale == 0:
        axes.axhline(y[0], color=GREY, linewidth=0.9, linestyle="--", zorder=1)
    axes.set_title(SETTING_TITLES[table.setting])


def _seed_dots(axes: "Axes", place: float, scores: Sequence[float]) -> None:
    axes.plot(
        [place] * len(scores),
        scores,
        linestyle="none",
        marker="_",
        markersize=8,
        color=INK,
        alpha=0.55,
        label="single seeds",
    )


def _control_points(axes: "Axes", table: Table, positions: dict[int, float]) -> None:
    for row, cell, score in _points([row for row in table.rows if row.control], OVERALL):
        colour, marker = control_style(row.control or "")
        low, high = _bounds(score, cell.accuracy)
        axes.errorbar(
            positions[row.scale] + 0.16,
            score,
            yerr=[[score - low], [high - score]],
            color=colour,
            marker=marker,
            markersize=5.5,
            linewidth=1.2,
            linestyle="none",
            label=ARM_KINDS[row.control or ""].legend,
            zorder=4,
        )


def durations_figure(tables: Sequence[Table]) -> "Figure":
    """Difference from no captions by duration, one panel per duration, both settings as lines with intervals."""
    with figure_style():
        figure, panels = new_figure(len(DURATIONS), (9.2, 3.1))
        for axes, bucket in zip(panels, DURATIONS, strict=True):
            positions = _scale_axis(axes, tables)
            for shift, table in enumerate(tables):
                _difference_line(axes, table, bucket, positions, 0.1 * (shift - (len(tables) - 1) / 2))
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set_title(BUCKET_TITLES[bucket])
        panels[0].set_ylabel("difference from no captions, points")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _difference_line(axes: "Axes", table: Table, bucket: str, positions: dict[int, float], shift: float) -> None:
    found = [(row.scale, delta) for row in headline_rows(table) if (delta := row.cells[bucket].delta) is not None]
    points = [(0, Estimate(0.0, 0.0, 0.0, 0.0)), *found] if 0 in positions else found
    axes.errorbar(
        [positions[scale] + shift for scale, _ in points],
        [delta.value for _, delta in points],
        yerr=_errors([delta for _, delta in points]),
        color=SETTING_COLOURS[table.setting],
        marker="o",
        markersize=4.5,
        elinewidth=1.1,
        label=SETTING_TITLES[table.setting],
    )


def _errors(estimates: Sequence[Estimate]) -> list[list[float]]:
    """[2, n] distances from the values to the lower and upper ends of their intervals."""
    return [[item.value - item.low for item in estimates], [item.high - item.value for item in estimates]]


def differences_figure(tables: Sequence[Table]) -> "Figure":
    """Forest plot of the overall difference from no captions of every arm, with its interval in numbers."""
    arms = [row for row in tables[0].rows if row.cells[OVERALL].delta is not None][::-1]
    with figure_style():
        figure, panels = new_figure(len(tables), (1.2 + 3.9 * len(tables), 1.1 + 0.34 * len(arms)), share="xy")
        for axes, table in zip(panels, tables, strict=True):
            _forest_panel(axes, table, [row.arm for row in arms])
        panels[0].set_yticks(range(len(arms)), [row.label for row in arms])
    return figure


def _forest_panel(axes: "Axes", table: Table, arms: Sequence[str]) -> None:
    places = {arm: place for place, arm in enumerate(arms)}
    rows = [(row, delta) for row in table.rows if row.arm in places and (delta := row.cells[OVERALL].delta) is not None]
    for row, delta in rows:
        colour, marker = control_style(row.control) if row.control else (SETTING_COLOURS[table.setting], "o")
        axes.errorbar(
            delta.value, places[row.arm], xerr=_errors([delta]), color=colour, marker=marker, linestyle="none"
        )
        p_holm = row.cells[OVERALL].p_holm
        text = difference_text(delta) + ("*" if p_holm is not None and p_holm < 0.05 else "")
        axes.annotate(text, (1.02, places[row.arm]), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.set_xlabel("difference from no captions, points")
    axes.set_title(SETTING_TITLES[table.setting])


def controls_figure(controls: Sequence[ControlRow]) -> "Figure":
    """Difference from no captions of each control and its headline arm, and the difference between the two."""
    rows = [row for row in controls if row.control_gain is not None and row.headline_gain is not None]
    with figure_style():
        figure, (axes,) = new_figure(1, (7.6, 1.0 + 0.85 * len(rows)))
        ticks: list[tuple[float, str]] = []
        for number, row in enumerate(rows):
            _control_pair(axes, row, -3.0 * number, ticks)
        axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("difference from no captions, points (95 % interval over videos)")
    return figure


def _control_pair(axes: "Axes", row: ControlRow, top: float, ticks: list[tuple[float, str]]) -> None:
    assert row.headline_gain is not None and row.control_gain is not None
    headline = (
        row.headline_gain,
        SETTING_COLOURS[row.setting],
        "o",
        f"{row.headline_label}, {SETTING_TITLES[row.setting].lower()}",
    )
    control = (row.control_gain, *control_style(row.kind), row.control_label)
    for place, (gain, colour, marker, label) in zip((top, top - 1), (headline, control), strict=True):
        axes.errorbar(gain.value, place, xerr=_errors([gain]), color=colour, marker=marker, linestyle="none")
        ticks.append((place, label))
    text = f"difference {difference_text(row.difference)}"
    axes.annotate(text, (1.02, top - 0.5), xycoords=("axes fraction", "data"), va="center", fontsize=8)
