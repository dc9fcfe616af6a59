"""The style of all figures: colours for the colour-blind (Okabe and Ito) that work in print, light and dark mode."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.arms import ARM_KINDS
from sg.artefacts.predictions import SETTINGS
from sg.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def new_figure(columns: int, size: tuple[float, float], share: str = "y") -> "tuple[Figure, list[Axes]]":
    """Return a figure with `columns` panels in one row. Without pyplot it needs no display and no closing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, sharex="x" in share, sharey="y" in share, squeeze=False)[0]
    return figure, list(axes)


def save(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write `name`.png (on white) and `name`.svg to `folder`; the same figure gives the same bytes."""
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with figure_style():
        with atomic_path(png) as path:
            figure.savefig(path, format="png", facecolor=PAPER, metadata={"Software": None})
        with atomic_path(svg) as path:
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return [png, svg]


def page_svg(path: Path, prefix: str) -> str:
    """Return the SVG file at `path` for use inside a page: with page colours, and ids that start with `prefix`."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace('xlink:href="#', f'xlink:href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    text = re.sub(r'(<svg[^>]*?) width="([^"]*)"', r'\1 style="max-width: \2"', text, count=1)
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
