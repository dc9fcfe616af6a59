"""Figures of what a study trained on: captions, cluster sizes, similarities of merges, map of the embedding space."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sg.report.figures.style import (
    BLUE,
    GREY,
    HALF,
    INK,
    ORANGE,
    SCALE_COLOURS,
    WIDE,
    Layout,
    figure_style,
    legend_below,
    new_figure,
    save,
    turn_crowded_ticks,
)
from sg.report.numbers.corpus import CORE, MERGE_BIN, CaptionGroup, CoreClusters, CorpusNumbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_corpus(corpus: CorpusNumbers, folder: Path) -> dict[str, list[Path]]:
    """Draw every figure that the corpus has numbers for; return name -> files (PNG, two SVG) in `folder`."""
    figures: dict[str, tuple[Callable[[Layout], Figure], Layout]] = {}
    if corpus.captions:
        figures["captions"] = (lambda layout: captions_figure(corpus.captions, layout)), WIDE
    if any(core.histogram for core in corpus.cores):
        figures["clusters"] = (lambda layout: clusters_figure(corpus.cores, layout)), HALF
    if corpus.merges:
        figures["similarities"] = (lambda layout: similarities_figure(corpus, layout)), HALF
    if corpus.points:
        figures["map"] = (lambda layout: map_figure(corpus, layout)), WIDE
    return {name: save(draw, folder, name, layout) for name, (draw, layout) in figures.items()}


def captions_figure(groups: Sequence[CaptionGroup], layout: Layout = WIDE) -> "Figure":
    """Words per caption (5th to 95th percentile), and distinct words, by core and by source."""
    with figure_style():
        figure, (left, right) = new_figure(2, 1.0 + 0.36 * len(groups), layout)
        places = list(range(len(groups)))[::-1]
        for place, group in zip(places, groups, strict=True):
            low, first, middle, third, high = group.words
            left.plot([low, high], [place, place], color=INK, linewidth=1.0, zorder=2)
            left.barh(place, third - first, left=first, height=0.5, color=BLUE if group.kind == CORE else ORANGE)
            left.plot([middle, middle], [place - 0.25, place + 0.25], color=INK, linewidth=2.0, zorder=3)
        left.set_yticks(places, [f"{group.name} ({group.kind})" for group in groups])
        left.set_xlabel("words per caption")
        left.set_xlim(left=0)
        left.grid(axis="x")
        left.grid(visible=False, axis="y")
        _vocabulary_panel(right, places, groups)
        legend_below(figure, layout, [right])
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
        axes.plot(x, y, linestyle="none", marker="|", markersize=14, markeredgewidth=2, color=INK,
                  label="random draw of as many captions")  # fmt: skip
    axes.set_xlabel("distinct words in the captions")
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")


def clusters_figure(cores: Sequence[CoreClusters], layout: Layout = HALF) -> "Figure":
    """Number of clusters by size in each core, both axes logarithmic."""
    with figure_style():
        figure, (axes,) = new_figure(1, 3.9, layout)
        for core, (colour, marker) in zip(cores, itertools.cycle(SCALE_COLOURS)):
            points = [(low, count) for low, count in core.histogram if count]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5, label=f"core {core.name}")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        largest = max(low for core in cores for low, count in core.histogram if count)
        ticks = [2**power for power in range(int(np.log2(largest)) + 1)]
        axes.set_xticks(ticks, ["1", *(f"{low:,}–{2 * low - 1:,}" for low in ticks[1:])])
        axes.minorticks_off()
        axes.set_xlabel("videos per cluster")
        axes.set_ylabel("number of clusters")
        legend_below(figure, layout, [axes])
        turn_crowded_ticks(figure, layout)
    return figure


def similarities_figure(corpus: CorpusNumbers, layout: Layout = HALF) -> "Figure":
    """Histogram of the similarities of all merges, with the similarity at which each core was cut."""
    total = sum(count for _, count in corpus.merges)
    with figure_style():
        figure, (axes,) = new_figure(1, 3.9, layout)
        axes.bar([low for low, _ in corpus.merges], [100 * count / total for _, count in corpus.merges],
                 width=MERGE_BIN, align="edge", color=GREY, alpha=0.55)  # fmt: skip
        for core, (colour, _) in zip(corpus.cores, itertools.cycle(SCALE_COLOURS)):
            if core.cut is not None:
                axes.axvline(core.cut, color=colour, linewidth=2, label=f"core {core.name}: cut at {core.cut:.3f}")
        axes.set_xlabel("cosine similarity of the merge")
        axes.set_ylabel(f"% of all {total:,} merges")
        legend_below(figure, layout, [axes])
        turn_crowded_ticks(figure, layout)
    return figure


def map_figure(corpus: CorpusNumbers, layout: Layout = WIDE) -> "Figure":
    """The embedding space in two dimensions; colour and marker show the smallest core that contains a video."""
    names = {core.size: f"core {core.name}" for core in corpus.cores} | {0: "only in the whole corpus"}
    with figure_style():
        figure, (axes,) = new_figure(1, 4.0 if layout.stacked else 5.2, layout)
        sizes = sorted({point.core for point in corpus.points} - {0})
        looks = {0: (GREY, ".")} | dict(zip(sizes, itertools.cycle(SCALE_COLOURS)))
        for size in (0, *reversed(sizes)):
            points = [point for point in corpus.points if point.core == size]
            colour, marker = looks[size]
            if points:
                axes.scatter([p.x for p in points], [p.y for p in points], s=12 if size else 16, color=colour,
                             marker=marker, alpha=0.8 if size else 0.6, linewidths=0,
                             label=names.get(size, f"core of {size:,}"))  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_xlabel(corpus.map_note or "two principal components", wrap=True)
        legend_below(figure, layout, [axes], markerscale=1.8)
    return figure
