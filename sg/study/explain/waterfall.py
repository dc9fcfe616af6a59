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
from sg.report.figures.style import BLUE, GREEN, GREY, ORANGE, Layout, figure_style, new_figure, page_svg, save
from sg.report.numbers.estimates import ArmScore, Estimate, arm_score, difference
from sg.report.pages.exports import csv_text
from sg.report.wording import SETTING_TITLES, difference_text

if TYPE_CHECKING:
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
pre {{ overflow-x: auto; }} svg {{ width: 100%; height: auto; }}
</style></head><body><h1>What each change is worth</h1>{figures}<pre>{text}</pre></body></html>
"""


@dataclass(frozen=True, slots=True)
class WaterfallPart:
    """One bar: the score after a change in percent, and its difference from the score before; None for the start."""

    setting: str
    change: str
    score: float
    difference: Estimate | None


def scored(rows: Sequence[Prediction]) -> ArmScore | None:
    """The official accuracy of the rows of one setting, in the order of their questions; None without answers."""
    ordered = sorted(rows, key=lambda row: row.question_id)
    values = np.array([[float(row.is_correct) if row.is_answered else np.nan for row in ordered]])
    _, videos = np.unique([row.video_id for row in ordered], return_inverse=True)
    return arm_score(values, videos.astype(np.int64))


def waterfall(setting: str, changes: Sequence[str], steps: Sequence[Sequence[Prediction]]) -> list[WaterfallPart]:
    """The start, each change, and the whole difference; `steps` are the rows before the first change and after each."""
    scores = [scored(rows) for rows in steps]
    parts: list[WaterfallPart] = []
    for change, before, after in zip([START, *changes], [None, *scores], scores, strict=False):
        if after is not None:
            gap = None if before is None else difference(after, before)
            parts.append(WaterfallPart(setting, change, 100 * float(after.means.mean()), gap))
    first, last = scores[0], scores[-1]
    if first is not None and last is not None:
        parts.append(WaterfallPart(setting, WHOLE, 100 * float(last.means.mean()), difference(last, first)))
    return parts


def waterfall_text(parts: Sequence[WaterfallPart]) -> str:
    """The parts as text, one block per setting."""
    blocks = []
    width = max(len(part.change) for part in parts) + 2
    for setting in dict.fromkeys(part.setting for part in parts):
        lines = [f"{SETTING_TITLES.get(setting, setting)}: accuracy in %, and difference in points [95 % interval]"]
        for part in (one for one in parts if one.setting == setting):
            gap = "" if part.difference is None else difference_text(part.difference)
            lines.append(f"  {part.change.ljust(width)}{part.score:6.1f}  {gap}".rstrip())
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def write_waterfall(folder: Path, parts: Sequence[WaterfallPart]) -> Path:
    """Write `explain.html` with its figures, `explain.txt` and `explain.csv`; returns the page."""
    text, figures = waterfall_text(parts), ""
    for setting in dict.fromkeys(part.setting for part in parts):
        own = [part for part in parts if part.setting == setting]
        _, svg, _ = save(partial(waterfall_figure, own), folder / setting, NAME)
        figures += f"<h2>{html.escape(SETTING_TITLES.get(setting, setting))}</h2>{page_svg(svg, setting)}"
    rows = [
        [one.setting, one.change, one.score, *((gap.value, gap.low, gap.high) if gap else (None, None, None))]
        for one in parts
        for gap in [one.difference]
    ]
    write_text(folder / "explain.csv", csv_text(("setting", "change", "score", "points", "low", "high"), rows))
    write_text(folder / "explain.txt", text)
    write_text(folder / "explain.html", _PAGE.format(figures=figures, text=html.escape(text)))
    return folder / "explain.html"


def waterfall_figure(parts: Sequence[WaterfallPart], layout: Layout) -> Figure:
    """A bar per change from the score before it to the score after it; lines are the intervals of the differences."""
    with figure_style():
        figure, (axes,) = new_figure(1, 0.9 + 0.42 * len(parts), layout)
        for place, part in enumerate(parts):
            gap = part.difference
            if gap is None:
                axes.barh(place, part.score, color=GREY)
                continue
            before = part.score - gap.value
            colour = BLUE if part.change == WHOLE else GREEN if gap.value > 0 else ORANGE
            axes.barh(place, gap.value, left=before, color=colour)
            if gap.has_interval:
                axes.plot([before + gap.low, before + gap.high], [place, place], color=GREY, linewidth=1.1)
        axes.set_yticks(range(len(parts)), [part.change for part in parts])
        axes.invert_yaxis()
        scores = [part.score for part in parts]
        axes.set_xlim(max(0, min(scores) - 12), min(100, max(scores) + 12))
        axes.set_xlabel("accuracy, % of the answered questions")
    return figure
