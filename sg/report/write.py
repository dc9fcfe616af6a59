"""The whole report of a study: measure, draw the conclusion, and write every file of `runs/<study>/report/`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sg.artefacts.result import studies_of_all_benchmarks
from sg.core.errors import SgError
from sg.core.files import write_text
from sg.core.tracking import Tracker
from sg.report.config import GalleryConfig
from sg.report.figures.contact_sheets import ContactSheets, build_contact_sheets, write_sheets
from sg.report.figures.corpus import draw_corpus
from sg.report.figures.costs import draw_costs
from sg.report.figures.held_out import draw_held_out
from sg.report.figures.reliability import draw_reliability
from sg.report.figures.study import draw_all
from sg.report.numbers.clusters import StudyInputs, named_inputs, recorded_inputs
from sg.report.numbers.corpus import CORPUS_FILE, CorpusNumbers, describe_corpus, write_corpus
from sg.report.numbers.load import REPORT_FOLDER
from sg.report.numbers.measure import measure_together
from sg.report.numbers.study import Study, read_study
from sg.report.numbers.summary import SUMMARY_FILE, Summary, write_summary
from sg.report.pages.benchmarks import BenchmarkRow, benchmark_rows, benchmarks_csv, benchmarks_text
from sg.report.pages.conclusion import Conclusion, conclude
from sg.report.pages.exports import costs_csv, losses_csv, markdown, runs_csv, tables_csv, topics_csv
from sg.report.pages.gallery import write_gallery
from sg.report.pages.study import write_page
from sg.report.pages.tables import terminal_text
from sg.report.wandb.log import log_corpus, log_report

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """The files of a written report, and the text for the terminal."""

    folder: Path
    page: Path
    summary: Path
    tables: list[Path]
    figures: dict[str, list[Path]]
    sheets: list[Path]
    text: str


def write_report(
    study_folder: Path,
    tracker: Tracker | None = None,
    gallery: GalleryConfig | None = None,
    usd_per_hour: float | None = None,
) -> ReportPaths:
    """Write the report on the runs in `study_folder` to its folder `report/`, replacing an older one.

    A study with several benchmarks has one report for each, and the first one compares them. If the manifest, forest or
    captions cannot be read, their part of the report is left out with a warning, because the scores do not depend on
    it. `usd_per_hour` is the price of one hour of one device in US dollars.

    Raises:
        MissingInputError: the folder contains no runs.
        DataError: the runs are of different benchmarks.
    """
    first, *further = [read_study(folder) for folder in studies_of_all_benchmarks(study_folder)]
    summary, *others = measure_together([first, *further])
    rows = benchmark_rows([summary, *others])
    texts = []
    for study, own in zip(further, others, strict=True):
        # Captions, clusters and the gallery are those of the first report.
        texts.append(_write_one(study, own, None, GalleryConfig(clusters_per_kind=0), usd_per_hour, ()).text)
    report = _write_one(first, summary, tracker, gallery or GalleryConfig(), usd_per_hour, rows)
    return replace(report, text="\n".join([report.text, *texts, *([benchmarks_text(rows)] if rows else [])]))


def _write_one(
    study: Study,
    summary: Summary,
    tracker: Tracker | None,
    gallery: GalleryConfig,
    usd_per_hour: float | None,
    rows: Sequence[BenchmarkRow],
) -> ReportPaths:
    """Write the report on a study with one benchmark; `rows` compare several."""
    conclusion = conclude(summary)
    folder = study.folder / REPORT_FOLDER
    text = terminal_text(summary, conclusion)
    tables = _write_tables(
        folder, summary, conclusion, "\n".join([text, benchmarks_text(rows)]) if rows else text, rows
    )
    drawn = folder / "figures"
    figures = draw_all(summary, drawn) | draw_held_out(summary, drawn) | draw_reliability(summary, drawn)
    figures |= draw_costs(summary, drawn, usd_per_hour)
    inputs = named_inputs(gallery) or (recorded_inputs(study) if gallery.clusters_per_kind else None)
    corpus = _corpus(study, inputs)
    if corpus is not None:
        write_corpus(folder / CORPUS_FILE, corpus)
        figures |= draw_corpus(corpus, folder / "figures")
    clusters, sheets = _gallery(study, gallery, inputs, folder / "gallery")
    files = [*(path.name for path in tables), SUMMARY_FILE, *([CORPUS_FILE] if corpus is not None else [])]
    files += [f"{name}/" for name, found in (("figures", figures), ("gallery", sheets)) if found]
    page = write_page(folder, summary, conclusion, figures, clusters, files, usd_per_hour, rows)
    if tracker is not None:
        log_report(tracker, summary, conclusion, figures, sheets)
        log_corpus(tracker, corpus)
    shown = f"{text}\nReport: {page}\n"
    return ReportPaths(folder, page, folder / SUMMARY_FILE, tables, figures, sheets, shown)


def _write_tables(
    folder: Path, summary: Summary, conclusion: Conclusion, text: str, rows: Sequence[BenchmarkRow]
) -> list[Path]:
    write_summary(folder / SUMMARY_FILE, summary)
    texts = {
        "tables.csv": tables_csv(summary),
        "runs.csv": runs_csv(summary),
        "topics.csv": topics_csv(summary),
        "costs.csv": costs_csv(summary),
        "report.md": markdown(summary, conclusion),
        "report.txt": "\n".join([text, *([benchmarks_text(rows)] if rows else [])]),
    }
    if summary.held_out is not None:
        texts["held_out.csv"] = losses_csv(summary)
    if rows:
        texts["benchmarks.csv"] = benchmarks_csv(rows)
    for name, content in texts.items():
        write_text(folder / name, content)
    return [folder / name for name in texts]


def _corpus(study: Study, inputs: StudyInputs | None) -> CorpusNumbers | None:
    cores = {arm.num_captions: arm.scale_label for arm in study.finished if arm.num_captions > 0}
    if inputs is None:
        return None
    try:
        return describe_corpus(inputs, cores)
    except SgError as error:
        log.warning("The report has no section on captions and clusters: %s", error)
        return None


def _gallery(
    study: Study, choice: GalleryConfig, inputs: StudyInputs | None, folder: Path
) -> tuple[ContactSheets | None, list[Path]]:
    """Write the gallery of all clusters to `folder`; return the clusters for the study's page and their sheets."""
    core_size = choice.core_size or min((arm.num_captions for arm in study.finished if arm.scale > 0), default=0)
    if inputs is None or core_size == 0 or choice.clusters_per_kind == 0:
        return None, []
    try:
        gallery = build_contact_sheets(inputs, core_size, choice.clusters_per_kind, choice.members)
        write_gallery(folder, inputs, core_size, choice.members, choice.pictures)
        return gallery, write_sheets(gallery, folder)
    except SgError as error:
        log.warning("The report has no gallery: %s", error)
        return None, []
