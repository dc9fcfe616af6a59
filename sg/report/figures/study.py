"""The figures of a study, drawn from its summary: scaling curve, durations, differences, controls."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sg.artefacts.arms import ARM_KINDS, STEPS
from sg.artefacts.predictions import DURATIONS, OVERALL
from sg.report.figures.style import (
    GREY,
    INK,
    PAPER,
    SETTING_COLOURS,
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
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import Cell, ControlRow, Summary, Table, TableRow, headline_rows
from sg.report.wording import BUCKET_TITLES, SETTING_TITLES, captions_axis, difference_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST_STEP = 0.75
"""Smallest distance between two scales on the axis, in doublings, so that their labels do not overlap."""
EQUAL_STEP_SHIFT = 0.1
"""Distance of an equal-step control from the headline point of its scale, so that their intervals can be told apart."""


def draw_all(summary: Summary, folder: Path) -> dict[str, list[Path]]:
    """Draw every figure that the summary has data for; return name -> files (PNG, two SVG) in `folder`."""
    tables = [table for table in summary.tables if headline_rows(table)]
    if not tables:
        return {}
    figures: dict[str, Callable[[Layout], Figure]] = {"scaling": lambda layout: scaling_figure(tables, layout)}
    if any(row.cells[OVERALL].delta for table in tables for row in table.rows):
        figures["durations"] = lambda layout: durations_figure(tables, layout)
        figures["differences"] = lambda layout: differences_figure(tables, layout)
    if any(row.control_gain is not None for row in summary.controls):
        figures["controls"] = lambda layout: controls_figure(summary.controls, layout)
    return {name: save(draw, folder, name) for name, draw in figures.items()}


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


def _scale_axis(axes: "Axes", tables: Sequence[Table], controls: bool = False) -> dict[str, float]:
    """Label the x axis with the scales and then, if wanted, the controls; return arm -> position.

    Equal-step controls stand at their own scale: both curves then have the number of distinct captions as their axis.
    """
    rows = {row.arm: row for table in tables for row in table.rows}
    scales = scale_positions([row.scale for row in rows.values()])
    positions = {arm: scales[row.scale] for arm, row in rows.items() if row.control is None}
    labels = {arm: "none" if row.scale == 0 else row.scale_label for arm, row in rows.items() if arm in positions}
    last = max(scales.values())
    shown = [row for row in rows.values() if row.control and controls]
    positions |= {row.arm: scales[row.scale] + EQUAL_STEP_SHIFT for row in shown if _has_equal_steps(row)}
    for place, row in enumerate(row for row in shown if not _has_equal_steps(row)):
        positions[row.arm] = last + 0.9 * (place + 1)
        labels[row.arm] = f"{row.scale_label}\n{ARM_KINDS[row.control or ''].label}"
    axes.set_xticks([positions[arm] for arm in labels], list(labels.values()))
    axes.set_xlim(-0.4, max(positions.values(), default=0.0) + 0.4)
    axes.set_xlabel(captions_axis(rows.values()))
    return positions


def _has_equal_steps(row: TableRow) -> bool:
    return row.control is not None and ARM_KINDS[row.control].fixed == STEPS


def _points(rows: Sequence[TableRow], bucket: str) -> list[tuple[TableRow, Cell, float]]:
    """The rows with a score in `bucket`, with cell and score."""
    cells = [(row, row.cells[bucket]) for row in rows]
    return [(row, cell, cell.score) for row, cell in cells if cell.score is not None]


def _bounds(value: float, estimate: Estimate | None) -> tuple[float, float]:
    return (value, value) if estimate is None else (estimate.low, estimate.high)


def scaling_figure(tables: Sequence[Table], layout: Layout = WIDE) -> "Figure":
    """Accuracy against captions, one panel per setting: mean over seeds, 95 % interval, seeds, controls, published.

    The equal-step controls are a second curve, which ends at the scale whose steps they have: where it is flat, more
    distinct captions add nothing to more steps.
    """
    with figure_style():
        figure, panels = new_figure(len(tables), 3.6, layout)
        for axes, table in zip(panels, tables, strict=True):
            _scaling_panel(axes, table, _scale_axis(axes, tables, controls=True))
            if layout.stacked or axes is panels[0]:
                axes.set_ylabel("accuracy, % of answered questions")
        several = any(len(row.seeds) > 1 for table in tables for row in table.rows)
        first = {f"{'mean over seeds' if several else 'accuracy'}, 95 % interval": _ink_line()}
        legend_below(figure, layout, panels, first)
        turn_crowded_ticks(figure, layout)
    return figure


def _ink_line() -> Any:
    """Legend entry for the line that has a different colour in each panel."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, marker="o", markersize=5)


def _scaling_panel(axes: "Axes", table: Table, positions: dict[str, float]) -> None:
    colour = SETTING_COLOURS[table.setting]
    points = _points(headline_rows(table), OVERALL)
    x = [positions[row.arm] for row, _, _ in points]
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
    published = [(positions[row.arm], cell.published) for row, cell, _ in points if cell.published is not None]
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
        axes.axhline(y[0], color=GREY, linewidth=0.9, linestyle="--", zorder=1, label="baseline without captions")
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


def _control_points(axes: "Axes", table: Table, positions: dict[str, float]) -> None:
    controls = _points([row for row in table.rows if row.control], OVERALL)
    _equal_step_curve(axes, table, [(row, score) for row, _, score in controls if _has_equal_steps(row)], positions)
    for row, cell, score in controls:
        colour, marker = control_style(row.control or "")
        low, high = _bounds(score, cell.accuracy)
        axes.errorbar(
            positions[row.arm],
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


def _equal_step_curve(
    axes: "Axes", table: Table, controls: Sequence[tuple[TableRow, float]], positions: dict[str, float]
) -> None:
    """Join the equal-step controls with the headline arm that has their number of steps."""
    headline = [(row, score) for row, _, score in _points(headline_rows(table), OVERALL) if row.caption_steps]
    if not controls or not headline:
        return
    steps = controls[0][0].caption_steps or 0
    same = min(headline, key=lambda point: abs((point[0].caption_steps or 0) - steps))
    joined = sorted((positions[row.arm], score) for row, score in (*controls, same))
    colour, _ = control_style(controls[0][0].control or "")
    axes.plot(*zip(*joined, strict=True), color=colour, linewidth=1.2, linestyle="--", zorder=2)


def durations_figure(tables: Sequence[Table], layout: Layout = WIDE) -> "Figure":
    """Difference from no captions by duration, one panel per duration, both settings as lines with intervals."""
    with figure_style():
        figure, panels = new_figure(len(DURATIONS), 3.2, layout)
        for axes, bucket in zip(panels, DURATIONS, strict=True):
            positions = _scale_axis(axes, tables)
            for shift, table in enumerate(tables):
                _difference_line(axes, table, bucket, positions, 0.1 * (shift - (len(tables) - 1) / 2))
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set_title(BUCKET_TITLES[bucket])
            if layout.stacked or axes is panels[0]:
                axes.set_ylabel("difference from no captions, points")
        legend_below(figure, layout, panels[:1])
        turn_crowded_ticks(figure, layout)
    return figure


def _difference_line(axes: "Axes", table: Table, bucket: str, positions: dict[str, float], shift: float) -> None:
    points = [
        (
            positions[row.arm] + shift,
            row.cells[bucket].delta or (Estimate(0.0, 0.0, 0.0, 0.0) if not row.scale else None),
        )
        for row in headline_rows(table)
    ]
    known = [(place, delta) for place, delta in points if delta is not None]
    axes.errorbar(
        [place for place, _ in known],
        [delta.value for _, delta in known],
        yerr=error_bars([delta for _, delta in known]),
        color=SETTING_COLOURS[table.setting],
        marker="o",
        markersize=4.5,
        elinewidth=1.1,
        label=SETTING_TITLES[table.setting],
    )


def differences_figure(tables: Sequence[Table], layout: Layout = WIDE) -> "Figure":
    """Forest plot of the overall difference from no captions of every arm, with its interval in numbers."""
    arms = [row for row in tables[0].rows if row.cells[OVERALL].delta is not None][::-1]
    with figure_style():
        figure, panels = new_figure(len(tables), 1.0 + 0.32 * len(arms), layout, share="xy")
        for axes, table in zip(panels, tables, strict=True):
            _forest_panel(axes, table, [row.arm for row in arms])
        panels[0].set_yticks(range(len(arms)), [row.label for row in arms])
    return figure


def _forest_panel(axes: "Axes", table: Table, arms: Sequence[str]) -> None:
    places = {arm: place for place, arm in enumerate(arms)}
    rows = [(row, delta) for row in table.rows if row.arm in places and (delta := row.cells[OVERALL].delta) is not None]
    for row, delta in rows:
        colour, marker = control_style(row.control) if row.control else (SETTING_COLOURS[table.setting], "o")
        p_holm = row.cells[OVERALL].p_holm
        star = "*" if p_holm is not None and p_holm < 0.05 else ""
        _forest_row(axes, places[row.arm], delta, colour, marker)
        _beside(axes, places[row.arm], difference_text(delta) + star)
    _forest_axes(axes, table.setting, len(arms))


def _forest_row(axes: "Axes", place: float, delta: Estimate, colour: str, marker: str) -> None:
    axes.errorbar(delta.value, place, xerr=error_bars([delta]), color=colour, marker=marker, linestyle="none")


def _beside(axes: "Axes", place: float, text: str) -> None:
    """Write `text` right of the panel."""
    axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)


def _forest_axes(axes: "Axes", setting: str, rows: int) -> None:
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.6, rows - 0.4)
    axes.set_xlabel("difference from no captions, points", loc="left")
    axes.set_title(SETTING_TITLES[setting])


def controls_figure(controls: Sequence[ControlRow], layout: Layout = WIDE) -> "Figure":
    """Difference from no captions of each control and its headline arm, and the difference between the two.

    One panel per setting; each pair of rows is one control.
    """
    rows = [row for row in controls if row.control_gain is not None and row.headline_gain is not None]
    settings, pairs = list(dict.fromkeys(row.setting for row in rows)), list(dict.fromkeys(row.control for row in rows))
    labels = {row.control: (row.headline_label, row.control_label) for row in rows}
    with figure_style():
        figure, panels = new_figure(len(settings), 1.0 + 0.85 * len(pairs), layout, share="xy")
        top = 3 * len(pairs) - 2
        tops = {control: top - 3 * number for number, control in enumerate(pairs)}
        for axes, setting in zip(panels, settings, strict=True):
            for row in rows:
                if row.setting == setting:
                    _control_pair(axes, row, tops[row.control])
            _forest_axes(axes, setting, top + 1)
        ticks = [(place - step, labels[pair][step]) for pair, place in tops.items() for step in (0, 1)]
        panels[0].set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    return figure


def _control_pair(axes: "Axes", row: ControlRow, top: int) -> None:
    assert row.headline_gain is not None and row.control_gain is not None
    _forest_row(axes, top, row.headline_gain, SETTING_COLOURS[row.setting], "o")
    _forest_row(axes, top - 1, row.control_gain, *control_style(row.kind))
    _beside(axes, top - 0.5, f"difference\n{difference_text(row.difference)}")
