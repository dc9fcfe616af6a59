"""The style of all figures: colours for the colour-blind (Okabe and Ito) that work in print, light and dark mode."""

import contextlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.arms import ARM_KINDS
from sg.artefacts.predictions import SETTINGS
from sg.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    from sg.report.numbers.estimates import Estimate

INK = "#1b1c1f"
GRID = "#d4d7dc"
PAPER = "#ffffff"
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PURPLE = "#cc79a7"
SKY = "#56b4e9"
YELLOW = "#e69f00"
GREY = "#7b7f87"

SETTING_COLOURS = dict(zip(SETTINGS, (BLUE, ORANGE), strict=True))
CONTROL_STYLES = [(GREEN, "D"), (PURPLE, "s"), (SKY, "v"), (YELLOW, "P")]
"""Colour and marker of the first, second, ... kind of control."""

SCALE_COLOURS = [(PURPLE, "^"), (ORANGE, "s"), (GREEN, "D"), (BLUE, "o"), (SKY, "v"), (YELLOW, "P")]
"""Colour and marker of the first, second, ... core in figures of several cores."""

PAGE_COLOURS = {
    INK: "currentColor",
    GRID: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    PURPLE: "var(--purple)",
    SKY: "var(--sky)",
    YELLOW: "var(--yellow)",
    GREY: "var(--muted)",
    PAPER: "var(--paper)",
}
"""Figure colour -> CSS colour of the page, so that inline figures follow its light or dark scheme."""

_RC: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.dpi": 110,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "sharegemini",
    "svg.fonttype": "path",
}


def control_style(control: str) -> tuple[str, str]:
    """Colour and marker of a kind of control; plug-ins' kinds come last and repeat the styles."""
    return CONTROL_STYLES[list(ARM_KINDS).index(control) % len(CONTROL_STYLES)]


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the report; matplotlib's settings are restored at the end."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a figure is shown: its `width` in inches, and whether its panels stand below each other."""

    width: float
    stacked: bool = False


WIDE = Layout(10.5)
"""A card of the page."""
HALF = Layout(5.0)
"""Two cards beside each other."""
NARROW = Layout(3.7, stacked=True)
"""A card on a phone."""

TITLES = {
    "scaling": "Accuracy by number of captions",
    "held_out_loss": "Loss on held-out captions",
    "durations": "Difference from no captions by video duration",
    "differences": "Difference from no captions over all questions",
    "tasks": "Difference from no captions by task type",
    "reliability": "How often a model is right, by how sure it is",
    "controls": "Controls beside the scale that they are compared with",
    "costs": "Difference from no captions by cost",
    "captions": "Words in the captions",
    "clusters": "Sizes of the clusters",
    "similarities": "Similarity of the merges",
    "map": "Map of the embedding space",
    "waterfall": "What each change is worth",
    "ladder": "Loss and accuracy by size of the model and number of captions",
}
"""Figure -> its title: the heading of its card, and what a screen reader says."""


def new_figure(panels: int, height: float, layout: Layout, share: str = "y") -> "tuple[Figure, list[Axes]]":
    """Return a figure with panels of `height` inches, in one row or stacked; `share` names the shared axes.

    Without pyplot a figure needs no display and no closing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = (panels, 1) if layout.stacked else (1, panels)
    figure = Figure(figsize=(layout.width, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, sharex="x" in share, sharey="y" in share, squeeze=False)
    for panel in axes.flat:
        panel.tick_params(labelbottom=True)
    return figure, list(axes.flat)


def legend_below(
    figure: "Figure", layout: Layout, panels: "Sequence[Axes]", first: Mapping[str, Any] | None = None, **style: Any
) -> None:
    """Add a legend below the panels, with each of their labels once, after `first` (handles by label)."""
    handles = dict(first or {})
    for panel in panels:
        handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    if handles:
        columns = max(1, int(layout.width / (0.5 + 0.063 * max(map(len, handles)))))
        columns = min(columns, len(handles))
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns, **style)


def error_bars(estimates: "Sequence[Estimate]") -> list[list[float]]:
    """[2, n] distances from the values to the ends of their intervals; 0 where there is no interval."""
    low = [one.value - one.low if one.has_interval else 0.0 for one in estimates]
    return [low, [one.high - one.value if one.has_interval else 0.0 for one in estimates]]


def overlapping(boxes: "Sequence[Bbox]", gap: float = 2.0) -> bool:
    """True if two of the boxes are closer than `gap` pixels."""
    grown = [box.padded(gap / 2) for box in boxes]
    return any(one.overlaps(other) for place, one in enumerate(grown) for other in grown[:place])


def grow(figure: "Figure", layout: Layout, inches: float) -> None:
    """Make every row of panels higher, so that what was added above or below a panel does not make it lower."""
    figure.set_figheight(figure.get_figheight() + inches * (len(figure.axes) if layout.stacked else 1))


def turn_crowded_ticks(figure: "Figure", layout: Layout) -> None:
    """Turn the tick labels of every x axis on which they would overlap: by 40 degrees, or upright if there are many."""
    figure.canvas.draw()
    added = 0.0
    for axes in figure.axes:
        labels = [label for label in axes.get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
        if not overlapping(boxes):
            continue
        centres = sorted((box.x0 + box.x1) / 2 for box in boxes)
        closest = min(after - before for before, after in itertools.pairwise(centres))
        upright = closest * math.sin(math.radians(40)) < min(box.height for box in boxes) + 2
        if any("\n" in label.get_text() for label in labels):
            axes.set_xticks(axes.get_xticks(), [label.get_text().replace("\n", " ") for label in labels])
        for label in axes.get_xticklabels():
            label.set(rotation=90 if upright else 40, rotation_mode="anchor", ha="right")
            label.set(va="center" if upright else "top")
        longest = max(label.get_window_extent().height for label in axes.get_xticklabels())
        added = max(added, longest - max(box.height for box in boxes))
    grow(figure, layout, added / figure.dpi)


def save(draw: "Callable[[Layout], Figure]", folder: Path, name: str, layout: Layout = WIDE) -> list[Path]:
    """Write `name`.png (on white), `name`.svg and, for phones, `name`-narrow.svg; the same numbers give the same bytes.

    `draw` returns the figure for a layout, and `layout` is the one of the first two files.
    """
    png, svg, narrow = (folder / f"{name}{end}" for end in (".png", ".svg", "-narrow.svg"))
    with figure_style():
        figure = draw(layout)
        with atomic_path(png) as path:
            figure.savefig(path, format="png", facecolor=PAPER, metadata={"Software": None, "Title": TITLES[name]})
        for file, shown in ((svg, figure), (narrow, draw(NARROW))):
            with atomic_path(file) as path:
                shown.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Title": TITLES[name]})
    return [png, svg, narrow]


def page_svg(path: Path, prefix: str) -> str:
    """Return the SVG file at `path` for use inside a page: with page colours, and ids that start with `prefix`.

    It is as wide as the page allows, and its title is its name for screen readers.
    """
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace("<svg", '<svg role="img" aria-labelledby="title"', 1).replace(
        "<title>", '<title id="title">', 1
    )
    text = re.sub(r'\b(id|aria-labelledby)="', rf'\1="{prefix}-', text)
    text = text.replace('xlink:href="#', f'xlink:href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for colour, name in PAGE_COLOURS.items():
        text = text.replace(colour, name)
    return text


def png_bytes(figure: "Figure") -> bytes:
    """Return the figure as PNG bytes on white, for notebooks."""
    import io

    stream = io.BytesIO()
    with figure_style():
        figure.savefig(stream, format="png", facecolor=PAPER, metadata={"Software": None})
    return stream.getvalue()
