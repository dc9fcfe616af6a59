"""The command `train.py`: one run, or a sweep of runs with the study's report at its end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from sg.caption.hosted.settings import ADAPTIVE
from sg.core.commands import command
from sg.core.errors import ExitCode, SgError
from sg.study.config import TrainConfig
from sg.study.devices import STARTED_BY_US, run_on_devices
from sg.study.planning.machine import check_devices
from sg.study.registration import check_registered
from sg.study.sweep import forget_folder, studies_of_this_process

if TYPE_CHECKING:
    from sg.study.run import StudyRun


@command("train", TrainConfig)
def _train(config: TrainConfig) -> None:
    from sg.study.planning.plan import check_run, print_plan, refuse_missing
    from sg.study.planning.rehearse import print_rehearsal
    from sg.study.planning.unused import refuse_unused
    from sg.study.planning.why import print_why

    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        check_run(config)
        is_job = any(word.startswith("hydra.mode=") for word in sys.argv)  # of a sweep, which is checked as a whole
        if HydraConfig.get().mode == RunMode.RUN and not is_job:
            refuse_unused([config])
        if config.why:
            print_why([config])
        elif config.dry_run:
            refuse_missing(print_plan([config]))
        elif config.rehearse:
            print_rehearsal(config)
        else:
            check_devices(config.trainer.accelerator, config.trainer.devices)
            if config.register:
                check_registered(config, folder.parent)
    except SgError:
        forget_folder(folder, {".hydra", "run.log"}, Path(config.paths.runs))
        raise
    if config.why or config.dry_run or config.rehearse:
        forget_folder(folder, {".hydra", "run.log"}, Path(config.paths.runs))
        return
    from sg.study.run import StudyRun

    run = StudyRun(config, folder.parent.name, folder.name, folder)
    if getattr(config.captioner, "buy", None) == ADAPTIVE:
        from sg.study.buying.run import buy_and_train

        print(buy_and_train(run, _make))
    else:
        _make(run)


def _make(run: StudyRun) -> None:
    from sg.train.processes import is_team_member

    if run.config.trainer.world_size > 1 and not is_team_member():
        run_on_devices(run)
    else:
        _run_as_member(run)


def _run_as_member(run: StudyRun) -> None:
    """Make the run. A process that was started for one device exits silently: the starting process reports errors."""
    from sg.study.run import run_study

    try:
        run_study(run)
    except (SgError, KeyboardInterrupt) as error:
        if STARTED_BY_US in os.environ:
            sys.exit(error.exit_code if isinstance(error, SgError) else ExitCode.INTERRUPTED)
        raise


def main() -> None:
    """Run the command. After a sweep, write the report from the run folders, also if a job failed."""
    from sg.train.processes import leave_team

    try:
        _train()
        leave_team()
    finally:
        if studies := studies_of_this_process():
            from sg.study.sweep_report import report_ladder, report_study

            for folder in studies:
                report_study(folder)
            report_ladder(studies)
