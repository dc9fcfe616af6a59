"""Summaries from where they may come from: the published tables, a committed summary, a study's folder."""

from collections.abc import Mapping
from math import sqrt
from pathlib import Path

from sg.artefacts.predictions import BUCKETS, OVERALL
from sg.core.errors import MissingInputError
from sg.core.scales import scale_label
from sg.report.numbers.comparisons import fit_shapes
from sg.report.numbers.corpus import CORPUS_FILE, CorpusNumbers, read_corpus
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.measure import measure, with_holm
from sg.report.numbers.published import PUBLISHED_BENCHMARK, Key, PublishedCell, read_published
from sg.report.numbers.statistics import paired_standard_error
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import SUMMARY_FILE, Cell, Summary, Table, TableRow, read_summary

PUBLISHED = "published"
REPORT_FOLDER = "report"
DISCORDANCE = 0.22
"""Share of questions on which a model and its fine-tuned successor disagree, measured on Video-MME for a 2B model
(`docs/reference/video_mme.md`, section 6).

The study does not publish its answers, so its intervals need this assumption."""


def load_summary(source: str | Path) -> Summary:
    """The summary of `source`: `"published"`, a `summary.json` or a folder with one, or a study's folder of runs.

    Raises:
        MissingInputError, DataError: there is nothing to read at `source`.
    """
    if source == PUBLISHED:
        return published_summary()
    path = Path(source)
    for file in (path, path / SUMMARY_FILE, path / REPORT_FOLDER / SUMMARY_FILE):
        if file.suffix == ".json" and file.is_file():
            return read_summary(file)
    return measure(read_study(path))


def load_corpus(source: str | Path) -> CorpusNumbers:
    """The captions and clusters of `source`: a `corpus.json`, a folder with one, or a study's folder of runs.

    Raises:
        MissingInputError: there is nothing to read at `source`; the published study tells nothing of its clusters.
    """
    if source == PUBLISHED:
        raise MissingInputError(
            "The published study tells nothing of its clusters and captions but their number: choose a folder."
        )
    path = Path(source)
    report = path / REPORT_FOLDER
    return read_corpus(report if (report / CORPUS_FILE).is_file() else path)


def published_summary(discordance: float = DISCORDANCE) -> Summary:
    """The published tables as a summary: exact counts, with the intervals they would have at an assumed discordance."""
    cells = read_published()
    settings = dict.fromkeys(setting for setting, _, _ in cells)
    tables = with_holm([_table(cells, setting, discordance) for setting in settings])
    note = (
        "Published counts; the intervals of differences assume that two models disagree on "
        f"{100 * discordance:.0f} % of the questions and do not know of videos, since no answers were published."
    )
    slips = [
        f"{setting}, {scale_label(scale)}, {bucket}: {cell.slip}."
        for (setting, scale, bucket), cell in cells.items()
        if cell.slip
    ]
    return Summary(
        study="ShareGemini, as published",
        benchmark=PUBLISHED_BENCHMARK,
        commands=[],
        versions={},
        tables=tables,
        controls=[],
        probes=[],
        pairs=[],
        letters=[],
        answers={},
        runs=[],
        notes=[note, *(f"Misprint, {slip}" for slip in slips)],
    )


def _table(cells: Mapping[Key, PublishedCell], setting: str, discordance: float) -> Table:
    scales = sorted({scale for name, scale, _ in cells if name == setting})
    first, last = (cells[setting, scale, OVERALL] for scale in (scales[1], scales[-1]))
    questions = cells[setting, 0, OVERALL].questions
    rows = [_row(cells, setting, scale, discordance) for scale in scales]
    return Table(
        setting=setting,
        questions=questions,
        videos=questions // 3,
        rows=rows,
        growth=_difference(last, first, discordance),
        joint_p=None,
        shapes=fit_shapes(rows),
    )


def _row(cells: Mapping[Key, PublishedCell], setting: str, scale: int, discordance: float) -> TableRow:
    label = scale_label(scale)
    return TableRow(
        arm=label,
        label="no captions" if scale == 0 else label,
        scale=scale,
        scale_label=label,
        control=None,
        num_captions=scale,
        caption_steps=None,
        seeds=[0],
        failed_seeds=[],
        reasons=[],
        cells={
            bucket: _cell(cells[setting, scale, bucket], cells[setting, 0, bucket] if scale else None, discordance)
            for bucket in BUCKETS
        },
    )


def _cell(cell: PublishedCell, base: PublishedCell | None, discordance: float) -> Cell:
    share = cell.correct / cell.questions
    return Cell(
        score=100 * share,
        accuracy=_normal(share, sqrt(share * (1 - share) / cell.questions)),
        seed_scores=[100 * share],
        delta=None if base is None else _difference(cell, base, discordance),
        questions=cell.questions,
        answered=cell.questions,
    )


def _difference(cell: PublishedCell, base: PublishedCell, discordance: float) -> Estimate:
    gap = (cell.correct - base.correct) / cell.questions
    return _normal(gap, paired_standard_error(discordance, cell.questions), test=True)


def _normal(value: float, error: float, test: bool = False) -> Estimate:
    from scipy.stats import norm

    half = float(norm.ppf(0.975)) * error
    p = float(2 * norm.sf(abs(value) / error)) if test else None
    return Estimate(100 * value, 100 * (value - half), 100 * (value + half), 100 * error, p)
