"""The page of a study: one HTML file that opens from disk, without network or scripts, in light and dark."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sg.artefacts.predictions import BUCKETS
from sg.core.files import write_text
from sg.report.figures.contact_sheets import ContactSheets
from sg.report.figures.style import page_svg
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import Conclusion
from sg.report.pages.tables import cell_delta, cell_score, legend, published_text, row_note
from sg.report.wording import (
    BUCKET_TITLES,
    SETTING_TITLES,
    accuracy_text,
    difference_text,
    duration_text,
    hours_text,
    p_text,
    percent,
    plural,
)

PAGE_FILE = "index.html"
FIGURE_CAPTIONS = {
    "scaling": "Accuracy against the number of captions: mean over seeds with its 95 % interval over videos, single "
    "seeds as dashes, the baseline as a broken line.",
    "durations": "Difference to no captions by video length, with 95 % intervals (exploratory, not corrected).",
    "differences": "Difference to no captions, overall, with 95 % intervals; * holds after Holm's correction.",
    "controls": "What the controls reach beside the run they answer to, and the difference between the two.",
    "tasks": "Difference to no captions by task type (number of questions in brackets), in points; exploratory.",
    "costs": "Difference to no captions, overall, against what a run costs, with 95 % intervals.",
    "captions": "Words a caption and distinct words, by core and by source; the mark is a random draw of as many.",
    "clusters": "How many clusters of which size the cores have (both axes logarithmic).",
    "similarities": "At which similarity videos were merged, and where each core was cut.",
    "map": "The embedding space, each video in the colour of the smallest core that holds it.",
}
SEVERAL = ("scaling", "durations", "differences", "tasks", "captions")
"""Figures of several panels, which a phone shows in part, to be scrolled, instead of too small to be read."""
SCORE_FIGURES = ("scaling", "durations", "differences", "tasks", "controls")
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
) -> Path:
    """Write `index.html` to `folder`; `figures` are the drawn files by name, `files` are named as lying beside it."""
    path = folder / PAGE_FILE
    write_text(path, page_html(summary, conclusion, figures, gallery, files, usd_per_hour))
    return path


def page_html(
    summary: Summary,
    conclusion: Conclusion,
    figures: Mapping[str, Sequence[Path]],
    gallery: ContactSheets | None = None,
    files: Sequence[str] = (),
    usd_per_hour: float | None = None,
) -> str:
    """The page's text. Everything that comes from data is escaped; only the figures' own SVG is not."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("study.html").render(
        summary=summary,
        conclusion=conclusion,
        figures=_figures(figures, SCORE_FIGURES),
        cost_figures=_figures(figures, COST_FIGURES),
        corpus_figures=_figures(figures, CORPUS_FIGURES),
        usd_per_hour=usd_per_hour,
        gallery=gallery,
        files=files,
        counts=_counts(summary),
        sections=_sections(summary, figures, gallery),
        letters=sorted(
            {letter for row in summary.letters for letter in row.shares}, key=lambda name: (len(name), name)
        ),
        titles=SETTING_TITLES,
        buckets=BUCKETS,
        bucket_titles=BUCKET_TITLES,
        **{function.__name__: function for function in _WRITERS},
    )


_WRITERS = (
    accuracy_text, cell_delta, cell_score, difference_text, duration_text, hours_text, legend, p_text, percent, plural,
    published_text, row_note,
)  # fmt: skip


def _figures(figures: Mapping[str, Sequence[Path]], names: Sequence[str]) -> list[dict[str, str]]:
    return [
        {
            "svg": page_svg(file, name),
            "caption": FIGURE_CAPTIONS[name],
            "shape": "several" if name in SEVERAL else "one",
        }
        for name in names
        for file in figures.get(name, ())
        if file.suffix == ".svg"
    ]


def _counts(summary: Summary) -> str:
    finished = sum(run.status == "finished" for run in summary.runs)
    seeds = len({run.seed for run in summary.runs})
    parts = [plural(len(summary.runs), "run"), f"{finished} finished", plural(seeds, "seed")]
    return " · ".join(parts)


def _sections(
    summary: Summary, figures: Mapping[str, Sequence[Path]], gallery: ContactSheets | None
) -> list[tuple[str, str]]:
    """Anchors and titles of the sections that the page has."""
    sections = [
        ("tables", "Scores", bool(summary.tables)),
        ("figures", "Figures", any(name in figures for name in SCORE_FIGURES)),
        ("reading", "Reading", True),
        ("controls", "Controls", bool(summary.controls)),
        ("probes", "Leak probes", bool(summary.probes or summary.letters)),
        ("costs", "Costs", bool(summary.costs)),
        ("corpus", "Captions and clusters", any(name in figures for name in CORPUS_FIGURES)),
        ("gallery", "Gallery", gallery is not None),
        ("runs", "Runs", True),
        ("repeat", "Repeat it", True),
    ]
    return [(anchor, title) for anchor, title, is_there in sections if is_there]
