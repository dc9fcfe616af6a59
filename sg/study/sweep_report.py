"""The end of a sweep: the reports of its studies, built from the run folders whatever happened to the jobs."""

import logging
from collections.abc import Sequence
from pathlib import Path

from sg.artefacts.result import RESULT_FILE, read_result
from sg.core.commands import disk_problems_in_one_sentence
from sg.core.errors import SgError
from sg.core.places.mirror import fetch, push
from sg.core.tracking import LoggerConfig, Tracker

log = logging.getLogger(__name__)


def report_study(folder: Path) -> None:
    """Write the report of the study in `folder`, log it as the study's summary run, and print its tables.

    A study without results is skipped: its sweep failed before the first run and has reported why.
    """
    try:
        fetch(folder)
    except SgError as error:
        log.error("The report of %s lacks runs of other machines: %s", folder, error)
    results = sorted(folder.glob(f"*/{RESULT_FILE}"))
    if not results:
        return
    from sg.report.numbers.load import REPORT_FOLDER
    from sg.report.write import write_report

    name = f"{folder.name} report"
    try:
        config = _logger(results[0])
        with (
            disk_problems_in_one_sentence(),
            Tracker(
                config,
                folder / REPORT_FOLDER,
                name=name,
                group=folder.name,
                job_type="report",
                settings={"study": folder.name},
            ) as tracker,
        ):
            print(write_report(folder, tracker).text, flush=True)
        push(folder)
    except SgError as error:
        log.error("The report of %s could not be made: %s", folder, error)


def report_ladder(folders: Sequence[Path]) -> None:
    """Compare the studies of a sweep over models or choices; studies that do not compare are reported in one line."""
    studies = [folder for folder in folders if any(folder.glob(f"*/{RESULT_FILE}"))]
    if len(studies) < 2:
        return
    from sg.report.ladder.write import write_ladder

    try:
        with disk_problems_in_one_sentence():
            print(write_ladder(studies), flush=True)
    except SgError as error:
        log.info("The %d studies of this sweep make no ladder: %s", len(studies), error)


def _logger(result: Path) -> LoggerConfig:
    """The logger settings of the study's runs."""
    recorded = read_result(result).config.get("logger")
    return LoggerConfig(**recorded) if isinstance(recorded, dict) else LoggerConfig(kind="csv")
