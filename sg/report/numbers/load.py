"""Loading a summary from the published tables, from a committed file, or from a study's folder."""

from collections.abc import Mapping
from math import sqrt
from pathlib import Path

import numpy as np

from sg.artefacts.predictions import BUCKETS, OVERALL
from sg.core.errors import MissingInputError
from sg.core.scales import scale_label
from sg.report.numbers.comparisons import fit_shapes
from sg.report.numbers.corpus import CORPUS_FILE, CorpusNumbers, read_corpus
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.measure import measure, with_holm
from sg.report.numbers.published import PUBLISHED_BENCHMARK, Key, PublishedCell, read_published, sensitivity
from sg.report.numbers.statistics import paired_standard_error
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import SUMMARY_FILE, Cell, Summary, Table, TableRow, read_summary

PUBLISHED = "published"
REPORT_FOLDER = "report"
DISCORDANCE = 0.22
"""Share of the questions of which exactly one of two models is right, measured on Video-MME for a 2B model and its
fine-tuned successor (`docs/reference/video_mme.md`, section 6). The published study has no answers per question, so its
intervals have to assume this share."""


def load_summary(source: str | Path) -> Summary:
    """Load the summary of `source`: `"published"`, a `summary.json` or a folder with one, or a study's folder of runs.

    Raises:
        MissingInputError, DataError: there is neither a summary nor a run at `source`.
    """
    if source == PUBLISHED:
        return published_summary()
    path = Path(source)
    for file in (path, path / SUMMARY_FILE, path / REPORT_FOLDER / SUMMARY_FILE):
        if file.suffix == ".json" and file.is_file():
            return read_summary(file)
    return measure(read_study(path))


def load_corpus(source: str | Path) -> CorpusNumbers:
    """Load the numbers about captions and clusters of `source`: a `corpus.json`, its folder, or a study's folder.

    Raises:
        MissingInputError: there is none at `source`, or `source` is the published study, which reports no clusters.
    """
    if source == PUBLISHED:
        raise MissingInputError(
            "The published study reports only the number of its captions, not their text or clusters: choose a folder."
        )
    path = Path(source)
    report = path / REPORT_FOLDER
    return read_corpus(report if (report / CORPUS_FILE).is_file() else path)


def published_summary(discordance: float = DISCORDANCE) -> Summary:
    """Return the published tables as a summary: exact counts, with intervals for an assumed discordance."""
    cells = read_published()
    settings = dict.fromkeys(setting for setting, _, _ in cells)
    [(tables, _)] = with_holm([([_table(cells, setting, discordance) for setting in settings], [])])
    note = (
        "Published counts. No answers were published, so the 95 % intervals of differences assume that two models "
        f"disagree on {100 * discordance:.0f} % of the questions, and they are not clustered by video."
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
        notes=[note, sensitivity(cells), *(f"Misprint: {slip}" for slip in slips)],
    )


def _table(cells: Mapping[Key, PublishedCell], setting: str, discordance: float) -> Table:
    scales = sorted({scale for name, scale, _ in cells if name == setting})
    first, last = (cells[setting, scale, OVERALL] for scale in (scales[1], scales[-1]))
    questions = cells[setting, 0, OVERALL].questions
    rows = [_row(cells, setting, scale, discordance) for scale in scales]
    # A curve depends on differences between its points, each of which has the errors of two points.
    error = 100 * paired_standard_error(discordance, questions) / sqrt(2)
    return Table(
        setting=setting,
        questions=questions,
        videos=questions // 3,
        rows=rows,
        growth=_difference(last, first, discordance),
        joint_p=None,
        shapes=fit_shapes([(row.scale, row.cells[OVERALL].score or 0.0) for row in rows], np.full(len(rows), error)),
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
    return _normal(gap, paired_standard_error(discordance, cell.questions, gap), test=True)


def _normal(value: float, error: float, test: bool = False) -> Estimate:
    from scipy.special import ndtr, ndtri

    half = float(ndtri(0.975)) * error
    p = float(2 * ndtr(-abs(value) / error)) if test else None
    return Estimate(100 * value, 100 * (value - half), 100 * (value + half), 100 * error, p)
