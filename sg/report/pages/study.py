"""The page of a study: one HTML file that opens from disk, without network or scripts, in light and dark mode."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sg.artefacts.names import shown_id
from sg.artefacts.predictions import BUCKETS
from sg.core.files import write_text
from sg.report.figures.contact_sheets import ContactSheets
from sg.report.figures.style import TITLES, page_svg
from sg.report.numbers.summary import Summary
from sg.report.pages.benchmarks import BENCHMARKS_NOTE, BenchmarkRow
from sg.report.pages.benchmarks import HEADINGS as BENCHMARK_HEADINGS
from sg.report.pages.conclusion import Conclusion
from sg.report.pages.held_out import HEADINGS, loss_cells, loss_legend
from sg.report.pages.tables import (
    cell_delta,
    cell_score,
    controls_intervals,
    controls_legend,
    legend,
    probes_legend,
    published_text,
    row_note,
)
from sg.report.wording import (
    BUCKET_TITLES,
    SETTING_TITLES,
    accuracy_text,
    difference_text,
    duration_text,
    hours_text,
    model_text,
    p_text,
    percent,
    plural,
    stand_in_note,
    study_title,
)

PAGE_FILE = "index.html"
FIGURE_CAPTIONS = {
    "held_out_loss": "In nats per token (lower is better), on captions of videos that no run trained on, with 95 % "
    "intervals over videos. Controls, if there are any, are at the right.",
    "scaling": "In % of the answered questions, with 95 % intervals over videos. The solid curve makes as many passes "
    "over every subset, so more captions mean more steps. Equal-step controls have the steps of the largest scale: a "
    "dashed line joins them with it. Other controls, if there are any, are at the right.",
    "durations": "In points, with 95 % intervals (exploratory, not corrected).",
    "differences": "In points, with 95 % intervals (not corrected); * p < .05 after Holm's correction.",
    "controls": "Difference from no captions of each control and of the scale that it is compared with, and the "
    "difference between the two, in points with 95 % intervals.",
    "tasks": "In points; the number of questions is in brackets (exploratory, not corrected).",
    "reliability": "Questions by the probability of their likeliest option, in ten bins; the area of a point is its "
    "share of the questions, lines are 95 % intervals (Wilson, not clustered by video). Below the diagonal a model is "
    "right less often than it is sure.",
    "costs": "Difference over all questions, in points with 95 % intervals. A name belongs to the points below it.",
    "captions": "Words per caption (line: 5th to 95th percentile, bar: 25th to 75th, mark: median) and distinct words.",
    "clusters": "Number of clusters by size (videos per cluster) in each core; both axes are logarithmic.",
    "similarities": "Cosine similarity of all merges, and the similarity at which each core was cut.",
    "map": "A point is a video; its colour and marker are those of the smallest core of this study that contains it.",
}
HALF_WIDTH = ("clusters", "similarities")
"""Figures of which two stand beside each other."""
FIRST_FIGURE = ("scaling",)
"""Stands under the headline, on the first screen: the effect and the control that says what it is due to."""
SCORE_FIGURES = ("held_out_loss", "durations", "differences", "tasks", "controls", "reliability")
COST_FIGURES = ("costs",)
CORPUS_FIGURES = ("captions", "clusters", "similarities", "map")


def write_page(
    folder: Path,
    summary: Summary,
    conclusion: Conclusion,
    figures: Mapping[str, Sequence[Path]],
    gallery: ContactSheets | None,
    files: Sequence[str],
    usd_per_hour: float | None = None,
    benchmarks: Sequence[BenchmarkRow] = (),
) -> Path:
    """Write `index.html` to `folder`; `figures` are drawn files by name, `files` the names of the other files."""
    path = folder / PAGE_FILE
    write_text(path, page_html(summary, conclusion, figures, gallery, files, usd_per_hour, benchmarks))
    return path


def page_html(
    summary: Summary,
    conclusion: Conclusion,
    figures: Mapping[str, Sequence[Path]],
    gallery: ContactSheets | None = None,
    files: Sequence[str] = (),
    usd_per_hour: float | None = None,
    benchmarks: Sequence[BenchmarkRow] = (),
) -> str:
    """Return the HTML of the page. All text from data is escaped; the SVG of the figures is not."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("study.html").render(
        summary=summary,
        conclusion=conclusion,
        first_figure=_figures(figures, FIRST_FIGURE),
        figures=_figures(figures, SCORE_FIGURES),
        cost_figures=_figures(figures, COST_FIGURES),
        corpus_figures=_figures(figures, CORPUS_FIGURES),
        usd_per_hour=usd_per_hour,
        gallery=gallery,
        files=files,
        counts=_counts(summary),
        sections=_sections(summary, figures, gallery, benchmarks),
        benchmarks=benchmarks,
        benchmark_headings=BENCHMARK_HEADINGS,
        benchmarks_note=BENCHMARKS_NOTE,
        stand_in=(stand_in := stand_in_note(summary)),
        scale_header="Captions (used)" if stand_in else "Captions",
        cautions=bool(summary.notes) or any(statement.caution for statement in conclusion.statements),
        letters=sorted(
            {letter for row in summary.letters for letter in row.shares}, key=lambda name: (len(name), name)
        ),
        titles=SETTING_TITLES,
        losses=summary.held_out,
        loss_headings=HEADINGS,
        buckets=BUCKETS,
        bucket_titles=BUCKET_TITLES,
        **{function.__name__: function for function in _WRITERS},
    )


_WRITERS = (
    accuracy_text, cell_delta, cell_score, controls_intervals, controls_legend, difference_text, duration_text,
    hours_text, legend, loss_cells, loss_legend, p_text, percent, plural, probes_legend, published_text, row_note,
    shown_id, study_title,
)  # fmt: skip


def _figures(figures: Mapping[str, Sequence[Path]], names: Sequence[str]) -> list[dict[str, str]]:
    shown = []
    for name in names:
        files = [file for file in figures.get(name, ()) if file.suffix == ".svg"]
        if files:
            wide, narrow = (page_svg(file, file.stem) for file in files)
            shown.append({
                "title": TITLES[name], "wide": wide, "narrow": narrow, "caption": FIGURE_CAPTIONS[name],
                "width": "half" if name in HALF_WIDTH else "full",
            })  # fmt: skip
    return shown


def _counts(summary: Summary) -> str:
    finished = sum(run.status == "finished" for run in summary.runs)
    seeds = len({run.seed for run in summary.runs})
    parts = [plural(len(summary.runs), "run"), f"{finished} finished", plural(seeds, "seed")]
    parts += [model_text(summary)] if summary.model else []
    return " · ".join(parts)


def _sections(
    summary: Summary,
    figures: Mapping[str, Sequence[Path]],
    gallery: ContactSheets | None,
    benchmarks: Sequence[BenchmarkRow],
) -> list[tuple[str, str]]:
    """Anchors and titles of the sections that the page contains."""
    sections = [
        ("tables", "Scores", bool(summary.tables)),
        ("benchmarks", "All benchmarks", bool(benchmarks)),
        ("held-out", "Held-out captions", summary.held_out is not None),
        ("figures", "Figures", any(name in figures for name in SCORE_FIGURES)),
        ("reading", "What the numbers support", True),
        ("controls", "Controls", bool(summary.controls)),
        ("probes", "Leak probes", bool(summary.probes or summary.letters)),
        ("costs", "Costs", bool(summary.costs)),
        ("corpus", "Captions and clusters", any(name in figures for name in CORPUS_FIGURES)),
        ("gallery", "Gallery", gallery is not None),
        ("runs", "Runs", True),
        ("repeat", "Reproduce it", True),
    ]
    return [(anchor, title) for anchor, title, is_shown in sections if is_shown]
