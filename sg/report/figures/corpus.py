"""Figures of what a study trained on: captions, cluster sizes, similarities of merges, map of the embedding space."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sg.report.figures.style import BLUE, GREY, INK, ORANGE, SCALE_COLOURS, figure_style, new_figure, save
from sg.report.numbers.corpus import CORE, CaptionGroup, CoreClusters, CorpusNumbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_corpus(corpus: CorpusNumbers, folder: Path) -> dict[str, list[Path]]:
    """Draw every figure that the corpus has numbers for; return name -> files (PNG, SVG) in `folder`."""
    figures: dict[str, Any] = {}
    if corpus.captions:
        figures["captions"] = captions_figure(corpus.captions)
    if any(core.histogram for core in corpus.cores):
        figures["clusters"] = clusters_figure(corpus.cores)
    if corpus.similarities:
        figures["similarities"] = similarities_figure(corpus)
    if corpus.points:
        figures["map"] = map_figure(corpus)
    return {name: save(figure, folder, name) for name, figure in figures.items()}


def captions_figure(groups: Sequence[CaptionGroup]) -> "Figure":
    """Words per caption (5th to 95th percentile), and distinct words, by core and by source."""
    with figure_style():
        figure, (left, right) = new_figure(2, (9.2, 1.3 + 0.36 * len(groups)), share="y")
        places = list(range(len(groups)))[::-1]
        for place, group in zip(places, groups, strict=True):
            low, first, middle, third, high = group.words
            left.plot([low, high], [place, place], color=INK, linewidth=1.0, zorder=2)
            left.barh(place, third - first, left=first, height=0.5, color=BLUE if group.kind == CORE else ORANGE)
            left.plot([middle, middle], [place - 0.25, place + 0.25], color=INK, linewidth=2.0, zorder=3)
        left.set_yticks(places, [f"{group.name} ({group.kind})" for group in groups])
        left.set_xlabel("words per caption (5th, 25th, 50th, 75th, 95th percentile)")
        left.set_xlim(left=0)
        _vocabulary_panel(right, places, groups)
    return figure


def _vocabulary_panel(axes: "Axes", places: Sequence[int], groups: Sequence[CaptionGroup]) -> None:
    colours = [BLUE if group.kind == CORE else ORANGE for group in groups]
    axes.barh(places, [group.vocabulary for group in groups], height=0.5, color=colours)
    drawn = [
        (group.vocabulary_of_draw, place)
        for place, group in zip(places, groups, strict=True)
        if group.vocabulary_of_draw is not None
    ]
    if drawn:
        x, y = zip(*drawn, strict=True)
        axes.plot(x, y, linestyle="none", marker="|", markersize=14, markeredgewidth=2, color=INK, label="random draw")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0)
    axes.set_xlabel("distinct words in the captions")
    for axis in (axes,):
        axis.grid(axis="x")
        axis.grid(visible=False, axis="y")


def clusters_figure(cores: Sequence[CoreClusters]) -> "Figure":
    """Number of clusters by size in each core, both axes logarithmic."""
    with figure_style():
        figure, (axes,) = new_figure(1, (6.4, 3.6))
        for core, (colour, marker) in zip(cores, SCALE_COLOURS, strict=False):
            points = [(low, count) for low, count in core.histogram if count]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5, label=f"core {core.name}")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        largest = max(low for core in cores for low, count in core.histogram if count)
        ticks = [2**power for power in range(int(np.log2(largest)) + 1)]
        axes.set_xticks(
            ticks, ["1", *(f"{low}–{2 * low - 1}" for low in ticks[1:])], rotation=0 if len(ticks) < 9 else 45
        )
        axes.minorticks_off()
        axes.set_xlabel("videos per cluster")
        axes.set_ylabel("number of clusters")
        axes.legend()
    return figure


def similarities_figure(corpus: CorpusNumbers) -> "Figure":
    """Histogram of the similarities of the merges, with the similarity at which each core was cut."""
    with figure_style():
        figure, (axes,) = new_figure(1, (6.4, 3.6))
        axes.hist(corpus.similarities, bins=40, color=GREY, alpha=0.55, weights=_shares(corpus.similarities))
        for core, (colour, _) in zip(corpus.cores, SCALE_COLOURS, strict=False):
            if core.cut is not None:
                axes.axvline(core.cut, color=colour, linewidth=2, label=f"core {core.name}: cut at {core.cut:.3f}")
        axes.set_xlabel("cosine similarity of the merge")
        axes.set_ylabel("% of all merges")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left")
    return figure


def _shares(values: Sequence[float]) -> list[float]:
    return [100 / len(values)] * len(values)


def map_figure(corpus: CorpusNumbers) -> "Figure":
    """The embedding space in two dimensions; colour and marker show the smallest core that contains a video."""
    names = {core.size: core.name for core in corpus.cores}
    with figure_style():
        figure, (axes,) = new_figure(1, (6.4, 5.0))
        sizes = sorted({point.core for point in corpus.points} - {0})
        outside = [point for point in corpus.points if point.core == 0]
        axes.scatter([p.x for p in outside], [p.y for p in outside], s=6, color=GREY, alpha=0.35, linewidths=0,
                     label="in no core")  # fmt: skip
        for size, (colour, marker) in reversed(list(zip(sizes, SCALE_COLOURS, strict=False))):
            points = [point for point in corpus.points if point.core == size]
            axes.scatter([p.x for p in points], [p.y for p in points], s=12, color=colour, marker=marker, alpha=0.8,
                         linewidths=0, label=f"core {names.get(size, f'{size:,}')}")  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_xlabel(corpus.map_note or "two principal components")
        figure.legend(loc="outside lower center", ncols=min(5, len(sizes) + 1), markerscale=1.8)
    return figure
