"""The waterfall of a difference: the parts of the changes, which add up to the whole."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sg.artefacts.predictions import Prediction
from sg.core.files import write_text
from sg.report.figures.style import BLUE, GREEN, GREY, INK, ORANGE, Layout, figure_style, new_figure, page_svg, save
from sg.report.numbers.estimates import ArmScore, Estimate, arm_score, difference
from sg.report.pages.exports import csv_text
from sg.report.wording import SETTING_TITLES, difference_text, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "waterfall"
START, WHOLE = "start", "altogether"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What each change is worth</title><style>
:root {{ color-scheme: light dark; --paper: #fff; --line: #d9dce1; --blue: #0072b2; --orange: #b84c00; --green: #00855f;
--muted: #686c74; }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #1c1e22; --line: #3a3d44; --blue: #58b4f0; --orange: #ff9a52;
--green: #35cf9f; --muted: #a0a5ae; }} }}
body {{ max-width: 1080px; margin: 2rem auto; padding: 0 1rem; font: 15px/1.55 system-ui, sans-serif; }}
pre {{ overflow-x: auto; }} svg {{ width: 100%; height: auto; }} .narrow {{ display: none; }}
@media (max-width: 600px) {{ .wide {{ display: none; }} .narrow {{ display: block; }} }}
</style></head><body><h1>What each change is worth</h1>{figures}<pre>{text}</pre></body></html>
"""


@dataclass(frozen=True, slots=True)
class WaterfallPart:
    """One bar: the score after a change in percent, and its difference from the score before.

    `answered` of the `questions` have an answer. Without any there is no score, and the difference from it is not known
    either; the start has no difference.
    """

    setting: str
    change: str
    score: float | None
    difference: Estimate | None
    answered: int
    questions: int


def scored(rows: Sequence[Prediction]) -> ArmScore | None:
    """The official accuracy of the rows of one setting, in the order of their questions; None without answers."""
    ordered = sorted(rows, key=lambda row: row.question_id)
    values = np.array([[float(row.is_correct) if row.is_answered else np.nan for row in ordered]])
    _, videos = np.unique([row.video_id for row in ordered], return_inverse=True)
    return arm_score(values, videos.astype(np.int64))


def waterfall(setting: str, changes: Sequence[str], steps: Sequence[Sequence[Prediction]]) -> list[WaterfallPart]:
    """The start, each change, and the whole difference; `steps` are the rows before the first change and after each."""
    scores = [scored(rows) for rows in steps]
    befores = [None, *scores[:-1], scores[0]]
    parts = []
    for change, before, at in zip([START, *changes, WHOLE], befores, [*range(len(steps)), -1], strict=True):
        after, rows = scores[at], steps[at]
        gap = None if before is None or after is None else difference(after, before)
        score = None if after is None else 100 * float(after.means.mean())
        parts.append(WaterfallPart(setting, change, score, gap, sum(row.is_answered for row in rows), len(rows)))
    return parts


def waterfall_text(parts: Sequence[WaterfallPart]) -> str:
    """The parts as text, one block per setting."""
    blocks = []
    width = max(len(part.change) for part in parts) + 2
    for setting in dict.fromkeys(part.setting for part in parts):
        lines = [f"{SETTING_TITLES.get(setting, setting)}: accuracy in %, and difference in points [95 % interval]"]
        for part in (one for one in parts if one.setting == setting):
            gap = "" if part.difference is None else difference_text(part.difference)
            score = "-" if part.score is None else f"{part.score:.1f}"
            few = "" if part.answered == part.questions else f"{part.answered:,} of {part.questions:,} answered"
            lines.append(f"  {part.change.ljust(width)}{score:>6}  {gap:<24}{few}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def write_waterfall(folder: Path, parts: Sequence[WaterfallPart]) -> Path:
    """Write `explain.html` with its figures, `explain.txt` and `explain.csv`; returns the page."""
    text, figures = waterfall_text(parts), ""
    for setting in dict.fromkeys(part.setting for part in parts):
        own = [part for part in parts if part.setting == setting]
        _, *drawn = save(partial(waterfall_figure, own), folder / setting, NAME)
        figures += f"<h2>{html.escape(SETTING_TITLES.get(setting, setting))}</h2>"
        for size, svg in zip(("wide", "narrow"), drawn, strict=True):
            figures += f'<div class="{size}">{page_svg(svg, f"{setting}-{size}")}</div>'
    rows = [
        [one.setting, one.change, one.score, *((gap.value, gap.low, gap.high) if gap else (None,) * 3), one.answered]
        for one in parts
        for gap in [one.difference]
    ]
    write_text(
        folder / "explain.csv", csv_text(("setting", "change", "score", "points", "low", "high", "answered"), rows)
    )
    write_text(folder / "explain.txt", text)
    write_text(folder / "explain.html", _PAGE.format(figures=figures, text=html.escape(text)))
    return folder / "explain.html"


def waterfall_figure(parts: Sequence[WaterfallPart], layout: Layout) -> Figure:
    """A bar per change from the score before it to the score after it; lines are the intervals of the differences."""
    with figure_style():
        figure, (axes,) = new_figure(1, 0.9 + 0.42 * len(parts), layout)
        scores = [part.score for part in parts if part.score is not None]
        left, right = max(0, min(scores, default=0) - 12), min(100, max(scores, default=100) + 12)
        axes.set_xlim(left, right + 0.14 * (right - left))  # room for the numbers
        for place, part in enumerate(parts):
            _draw_part(axes, place, part)
            if place < len(parts) - 2 and part.score is not None:  # where the next bar begins
                axes.plot([part.score] * 2, [place + 0.4, place + 0.6], color=GREY, linewidth=0.9, clip_on=False)
        axes.set_yticks(range(len(parts)), [part.change for part in parts])
        axes.invert_yaxis()
        axes.set_xlabel("accuracy, %" if layout.stacked else "accuracy, % of the answered questions")
    return figure


def _draw_part(axes: Axes, place: int, part: WaterfallPart) -> None:
    """The bar of a part with its number behind it; no change is a thin line."""
    gap, score = part.difference, part.score
    if score is None or gap is None:
        axes.barh(place, score or 0, color=GREY)
        text, end = ("no question is answered" if score is None else f"{score:.1f}"), score or axes.get_xlim()[0]
    else:
        before = score - gap.value
        colour = BLUE if part.change == WHOLE else GREEN if gap.value > 0 else ORANGE
        axes.barh(place, gap.value, left=before, color=colour, edgecolor=colour, linewidth=1.2)
        ends = [before + gap.low, before + gap.high] if gap.has_interval else [before, score]
        if gap.has_interval:
            axes.plot(ends, [place, place], color=INK, linewidth=1.1)
        text, end = signed(gap.value), max(before, score, *ends)
    axes.annotate(text, (end, place), (5, 0), textcoords="offset points", va="center", annotation_clip=False)
