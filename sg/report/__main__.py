"""`python -m sg.report study=runs/demo_scaling`: the report on a study's folder, printed and written."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sg.core.commands import command
from sg.core.tracking import LoggerConfig, Tracker
from sg.report.config import GalleryConfig, ReportConfig

if TYPE_CHECKING:
    from sg.report.write import GalleryChoice


def report(config: ReportConfig) -> None:
    """Write the report on one study and print its tables."""
    from sg.report.load import REPORT_FOLDER
    from sg.report.study import check_study_folder
    from sg.report.write import write_report

    study = Path(config.study).expanduser().resolve()
    check_study_folder(study)
    choice = _gallery_choice(config.gallery)
    logger = config.logger if isinstance(config.logger, LoggerConfig) else LoggerConfig(kind="csv")
    folder, name = study / REPORT_FOLDER, f"{study.name} report"
    with Tracker(logger, folder, name=name, group=study.name, job_type="report", settings={}) as tracker:
        print(write_report(study, tracker, choice, config.usd_per_hour).text)


def _gallery_choice(config: GalleryConfig) -> "GalleryChoice":
    from sg.report.clusters import GalleryInputs
    from sg.report.write import GalleryChoice

    inputs = None
    if config.manifest and config.forest and config.videos:
        captions = Path(config.captions) if config.captions else None
        inputs = GalleryInputs(Path(config.manifest), Path(config.forest), Path(config.videos), captions)
    return GalleryChoice(inputs, config.core_size, config.clusters_per_kind, config.members, config.pictures)


main = command("report", ReportConfig)(report)

if __name__ == "__main__":
    if sys.argv[1:2] == ["dashboard"]:
        from sg.report.dashboard_command import main

        del sys.argv[1]
    elif sys.argv[1:2] == ["cards"]:
        from sg.report.cards.command import main

        del sys.argv[1]
    main()
