"""The figure of a ladder: each metric over the number of captions, one line per study.

A colour is a model, or in a ladder of one model a choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sg.artefacts.arms import EQUAL_STEPS
from sg.core.scales import scale_label
from sg.report.figures.study import scale_positions
from sg.report.figures.style import (
    GREY,
    SCALE_COLOURS,
    WIDE,
    Layout,
    error_bars,
    figure_style,
    legend_below,
    new_figure,
    turn_crowded_ticks,
)
from sg.report.ladder.law import PARAMETERS, predicted
from sg.report.ladder.numbers import LadderRow, LadderSummary
from sg.report.ladder.page import METRIC_TITLES
from sg.report.ladder.studies import METRICS
from sg.report.numbers.held_out import HELD_OUT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "ladder"


def ladder_figure(summary: LadderSummary, layout: Layout = WIDE) -> Figure:
    """One panel per metric; 95 % intervals are over videos, dashes are the joint law if it is not rejected.

    Controls are not drawn, except in a ladder of captioners, which compares them at equal steps.
    """
    shown = EQUAL_STEPS if summary.worth else None
    largest = max(row.scale for row in summary.rows)
    rows = sorted(
        (row for row in summary.rows if row.control == (shown if 0 < row.scale < largest else None)),
        key=lambda row: row.scale,
    )
    metrics = [metric for metric in METRICS if any(metric in row.values for row in rows)]
    places = scale_positions([row.scale for row in rows])
    labels = {row.scale: "none" if row.scale == 0 else scale_label(row.scale) for row in rows}
    with figure_style():
        figure, panels = new_figure(len(metrics), 3.4, layout, share="")
        for axes, metric in zip(panels, metrics, strict=True):
            choices = dict.fromkeys(row.choice for row in rows)
            for at, model in enumerate(summary.models):
                for place, choice in enumerate(choices):
                    number = at if len(summary.models) > 1 else place
                    line = [row for row in rows if (row.model, row.choice) == (model, choice) and metric in row.values]
                    label = f"{model} ({summary.models[model]:,})" if len(summary.models) > 1 else choice or model
                    _line(axes, metric, line, places, number, label)
            axes.set_xticks([places[scale] for scale in labels], list(labels.values()))
            axes.set_xlabel("number of captions")
            axes.set_ylabel("nats per token" if metric == HELD_OUT else "accuracy, %")
            axes.set_title(METRIC_TITLES[metric])
            if metric == HELD_OUT:
                _laws(axes, summary, rows, places)
        legend_below(figure, layout, panels)
        turn_crowded_ticks(figure, layout)
    return figure


def _line(axes: Axes, metric: str, rows: list[LadderRow], places: dict[int, float], number: int, label: str) -> None:
    if not rows:
        return
    colour, marker = SCALE_COLOURS[number % len(SCALE_COLOURS)]
    values = [row.values[metric] for row in rows]
    axes.errorbar(
        [places[row.scale] for row in rows], [one.value for one in values], yerr=error_bars(values), color=colour,
        marker=marker, markersize=4.5, elinewidth=1.0, linewidth=1.2, label=label,
    )  # fmt: skip


def _laws(axes: Axes, summary: LadderSummary, rows: list[LadderRow], places: dict[int, float]) -> None:
    for found in summary.laws:
        law = found.law
        if law is None or law.is_rejected:
            continue
        parameters = np.array([law.parameters[name].value for name in PARAMETERS])
        for model, weights in summary.models.items():
            own = [row for row in rows if (row.model, row.choice) == (model, found.choice) and row.captions > 0]
            captions = np.array([row.captions for row in own], dtype=np.float64)
            fitted = predicted(np.full(len(own), weights / law.size), captions / law.captions, parameters)
            axes.plot(
                [places[row.scale] for row in own], fitted, color=GREY, linestyle="--", linewidth=1.0, zorder=4,
                label="joint law",
            )  # fmt: skip
