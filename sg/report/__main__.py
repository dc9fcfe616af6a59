"""`python -m sg.report study=FOLDER`: write the report on the study in a folder and print its tables.

`python -m sg.report published` prints the published study's tables and which of its claims they support,
`python -m sg.report compare A B` compares two or more files of answers,
`python -m sg.report ladder STUDY STUDY` compares studies of several models, or with several choices of data,
`python -m sg.report power` prints what a study would resolve, before it is run,
`python -m sg.report dashboard study=FOLDER` builds the W&B workspace and report,
`python -m sg.report cards study=FOLDER` writes the data card and the model card, and
`python -m sg.report gallery forest=FILE manifest=FILE videos=DIR core_size=N` shows the clusters without a study.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from sg.core.commands import command, one_sentence_errors
from sg.core.errors import ConfigError
from sg.core.mistakes import first_action
from sg.core.tracking import LoggerConfig, Tracker
from sg.report.config import ReportConfig


def report(config: ReportConfig) -> None:
    """Write the report on one study and print its tables."""
    from sg.report.numbers.load import REPORT_FOLDER
    from sg.report.numbers.study import check_study_folder
    from sg.report.write import write_report

    study = Path(config.study).expanduser().resolve()
    check_study_folder(study)
    logger = config.logger if isinstance(config.logger, LoggerConfig) else LoggerConfig(kind="csv")
    folder, name = study / REPORT_FOLDER, f"{study.name} report"
    with Tracker(logger, folder, name=name, group=study.name, job_type="report", settings={}) as tracker:
        print(write_report(study, tracker, config.gallery, config.usd_per_hour).text)


report_command = command("report", ReportConfig, sweeps=False)(report)


def compare(arguments: Sequence[str]) -> None:
    """Print a comparison of two or more files of answers."""
    from sg.report.commands.compare import compare_text

    print(compare_text([Path(argument) for argument in arguments]), end="")


def ladder(arguments: Sequence[str]) -> None:
    """Compare the studies in two or more folders over model size and captions."""
    from sg.report.ladder.write import write_ladder

    print(write_ladder([Path(argument) for argument in arguments]))


def published(arguments: Sequence[str]) -> None:
    """Print the published study's tables and which of its claims they support."""
    from sg.report.commands.published import published_text

    if arguments:
        raise ConfigError(f"published takes no settings, got {arguments[0]!r}: run `python -m sg.report published`.")
    print(published_text(), end="")


SUBCOMMANDS = {"compare": compare, "ladder": ladder, "published": published}


HYDRA_SUBCOMMANDS = ("dashboard", "cards", "gallery", "power")


def main() -> None:
    """The command line, whose first word may be a subcommand."""
    with one_sentence_errors():
        action = first_action(sys.argv[1:], (*SUBCOMMANDS, *HYDRA_SUBCOMMANDS))
    if action in SUBCOMMANDS:
        with one_sentence_errors():
            SUBCOMMANDS[action](sys.argv[2:])
    elif action in HYDRA_SUBCOMMANDS:
        del sys.argv[1]
        import_module(f"sg.report.commands.{action}").main()
    else:
        report_command()


if __name__ == "__main__":
    main()
