"""Output of the notebooks: a figure or a contact sheet as a picture, or a sentence if the source has no numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.layout import located
from sg.report.figures.corpus import captions_figure, clusters_figure, map_figure, similarities_figure
from sg.report.figures.costs import costs_figure, gains, tasks_figure
from sg.report.figures.study import controls_figure, differences_figure, durations_figure, scaling_figure
from sg.report.figures.style import png_bytes
from sg.report.numbers.corpus import CorpusNumbers
from sg.report.numbers.load import PUBLISHED, REPORT_FOLDER
from sg.report.numbers.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_SUMMARY: dict[str, tuple[Callable[[Summary], "Figure"], Callable[[Summary], bool]]] = {
    "scaling": (lambda summary: scaling_figure(summary.tables), lambda summary: bool(summary.tables)),
    "differences": (lambda summary: differences_figure(summary.tables), lambda summary: bool(gains(summary))),
    "durations": (lambda summary: durations_figure(summary.tables), lambda summary: bool(gains(summary))),
    "controls": (
        lambda summary: controls_figure(summary.controls),
        lambda summary: any(row.control_gain is not None for row in summary.controls),
    ),
    "tasks": (
        lambda summary: tasks_figure(summary.topics),
        lambda summary: any(row.delta is not None for row in summary.topics),
    ),
    "costs": (costs_figure, lambda summary: bool(summary.costs and gains(summary))),
}
_OF_CORPUS: dict[str, tuple[Callable[[CorpusNumbers], "Figure"], Callable[[CorpusNumbers], bool]]] = {
    "captions": (lambda corpus: captions_figure(corpus.captions), lambda corpus: bool(corpus.captions)),
    "clusters": (lambda corpus: clusters_figure(corpus.cores), lambda corpus: bool(corpus.cores)),
    "similarities": (similarities_figure, lambda corpus: bool(corpus.merges)),
    "map": (map_figure, lambda corpus: bool(corpus.points)),
}


def source_path(source: str) -> str | Path:
    """Return `"published"` unchanged, and any other source as a path, relative to this project or absolute."""
    return source if source == PUBLISHED else located(source)


def show(name: str, source: Summary | CorpusNumbers) -> Any:
    """Return the figure `name` of a summary or a corpus, for IPython to display."""
    from IPython.display import Image, Markdown

    if isinstance(source, CorpusNumbers):
        draw_corpus, has_corpus = _OF_CORPUS[name]
        return Image(png_bytes(draw_corpus(source))) if has_corpus(source) else Markdown(_no_numbers(name))
    draw, has = _OF_SUMMARY[name]
    return Image(png_bytes(draw(source))) if has(source) else Markdown(_no_numbers(name))


def show_sheet(source: str, number: int = 1) -> Any:
    """Return the contact sheet `number` of a source with a gallery, for IPython to display."""
    from IPython.display import Image, Markdown

    folder = Path(source_path(source))
    sheets = [
        path for at in (folder, folder / REPORT_FOLDER) for path in sorted(at.glob(f"gallery/*-{number:02d}.png"))
    ]
    return Image(filename=str(sheets[0])) if sheets else Markdown(_no_numbers(f"sheet {number}"))


def _no_numbers(name: str) -> str:
    return f"*This source has no numbers for the figure “{name}”.*"
