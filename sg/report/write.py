"""The whole report of a study: measure it, put it in words, write every file of `runs/<study>/report/`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.predictions import PROBES
from sg.core.errors import SgError
from sg.core.files import write_text
from sg.core.tracking import Tracker
from sg.report.exports import markdown, runs_csv, tables_csv
from sg.report.figures import draw_all
from sg.report.finding import Finding, find
from sg.report.gallery import Gallery, GalleryInputs, build_gallery, write_sheets
from sg.report.measure import measure
from sg.report.page import write_page
from sg.report.study import Study, read_study
from sg.report.summary import SUMMARY_FILE, Summary, write_summary
from sg.report.tables import terminal_text

log = logging.getLogger(__name__)

REPORT_FOLDER = "report"
INPUT_NAMES = ("manifest", "forest", "videos")


@dataclass(frozen=True, slots=True)
class GalleryChoice:
    """What the gallery shows: a core of `core_size` videos (None: the smallest scale of the study), how much of it."""

    inputs: GalleryInputs | None = None
    core_size: int | None = None
    clusters_per_kind: int = 2
    members: int = 4


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where the report lies, and what a terminal should show of it."""

    folder: Path
    page: Path
    summary: Path
    tables: list[Path]
    figures: dict[str, list[Path]]
    sheets: list[Path]
    text: str


def write_report(
    study_folder: Path, tracker: Tracker | None = None, gallery: GalleryChoice = GalleryChoice()
) -> ReportPaths:
    """Report on the runs in `study_folder`; everything lands in its `report/`, older files are replaced.

    A gallery that cannot be made is left out with a warning: the scores do not depend on it.

    Raises:
        MissingInputError: the folder holds no runs.
        DataError: the runs are of different benchmarks.
    """
    study = read_study(study_folder)
    summary = measure(study)
    finding = find(summary)
    folder = study_folder / REPORT_FOLDER
    text = terminal_text(summary, finding)
    tables = _write_tables(folder, summary, finding, text)
    figures = draw_all(summary, folder / "figures")
    clusters = _gallery(study, gallery)
    sheets = write_sheets(clusters, folder / "gallery") if clusters is not None else []
    files = [*(path.name for path in tables), SUMMARY_FILE]
    files += [f"{name}/" for name, found in (("figures", figures), ("gallery", sheets)) if found]
    page = write_page(folder, summary, finding, figures, clusters, files)
    if tracker is not None:
        log_report(tracker, summary, finding, figures, sheets)
    shown = f"{text}\nReport: {page}\n"
    return ReportPaths(folder, page, folder / SUMMARY_FILE, tables, figures, sheets, shown)


def _write_tables(folder: Path, summary: Summary, finding: Finding, text: str) -> list[Path]:
    write_summary(folder / SUMMARY_FILE, summary)
    texts = {
        "tables.csv": tables_csv(summary),
        "runs.csv": runs_csv(summary),
        "report.md": markdown(summary, finding),
        "report.txt": text,
    }
    for name, content in texts.items():
        write_text(folder / name, content)
    return [folder / name for name in texts]


def _gallery(study: Study, choice: GalleryChoice) -> Gallery | None:
    inputs = choice.inputs or _recorded_inputs(study)
    core_size = choice.core_size or min((arm.num_captions for arm in study.finished if arm.scale > 0), default=0)
    if inputs is None or core_size == 0 or choice.clusters_per_kind == 0:
        return None
    try:
        return build_gallery(inputs, core_size, choice.clusters_per_kind, choice.members)
    except SgError as error:
        log.warning("The report has no gallery: %s", error)
        return None


def _recorded_inputs(study: Study) -> GalleryInputs | None:
    """The files that the runs say they read, where they still exist."""
    for run in study.runs:
        found = {name: Path(run.inputs[name]) for name in INPUT_NAMES if name in run.inputs}
        if len(found) == len(INPUT_NAMES) and all(path.exists() for path in found.values()):
            captions = Path(run.inputs["captions"]) if "captions" in run.inputs else None
            return GalleryInputs(found["manifest"], found["forest"], found["videos"], captions)
    return None


def log_report(
    tracker: Tracker,
    summary: Summary,
    finding: Finding,
    figures: Mapping[str, Sequence[Path]],
    sheets: Sequence[Path],
) -> None:
    """Log the study as one summary run: a point a scale, final values, the tables, the figures."""
    import csv
    import io

    for scale, values in sorted(_curve(summary).items()):
        tracker.log({"captions": float(scale), **values})
    tracker.summary({**_final_values(summary), "verdict": finding.verdict, "tone": finding.tone})
    for name, text in (("tables/scores", tables_csv(summary)), ("tables/runs", runs_csv(summary))):
        header, *rows = csv.reader(io.StringIO(text))
        tracker.table(name, header, rows)
    for name, paths in figures.items():
        tracker.image(f"figures/{name}", paths[0])
    for path in sheets:
        tracker.image(f"gallery/{path.stem}", path)


def _curve(summary: Summary) -> dict[int, dict[str, float]]:
    """Scale -> headline scores and differences under the keys that the runs use, `<benchmark>/<setting>/<bucket>`."""
    points: dict[int, dict[str, float]] = {}
    for table in summary.tables:
        for row in table.rows:
            for bucket, cell in row.cells.items():
                if row.control is not None or cell.score is None:
                    continue
                key = f"{summary.benchmark or 'benchmark'}/{table.setting}/{bucket}"
                values = points.setdefault(row.scale, {})
                values[key] = cell.score
                if cell.delta is not None:
                    values |= {f"{key}/delta": cell.delta.value, f"{key}/delta_low": cell.delta.low}
                    values[f"{key}/delta_high"] = cell.delta.high
    return points


def _final_values(summary: Summary) -> dict[str, float | str]:
    """What the run table of W&B shows for the study: gains of the largest scale, controls, probes."""
    curve = _curve(summary)
    values: dict[str, float | str] = dict(curve[max(curve)]) if curve else {}
    for row in summary.controls:
        values[f"control/{row.kind}/{row.setting}/difference"] = row.difference.value
        values[f"control/{row.kind}/{row.setting}/difference_low"] = row.difference.low
    for probe in (row for row in summary.probes if row.probe in PROBES):
        values[f"probe/{probe.probe}"] = probe.accuracy.value
    return values
