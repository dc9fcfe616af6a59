"""The identity of the result of a run, and whether an existing result can be reused."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sg.artefacts.result import FINISHED, PREDICTIONS_FILE, RunResult, read_answers_of, read_result
from sg.core.errors import DataError, MissingInputError
from sg.core.identity import Identity, identity
from sg.study.config import TrainConfig
from sg.train.stage import StageJob

log = logging.getLogger(__name__)

RESULT_VERSION = 1
"""Raise it when the same answers would give other scores or another `result.json`."""


def result_identity(config: TrainConfig, scale: int, jobs: Sequence[StageJob], answers: Identity) -> Identity:
    """What decides the result of a run: its stages and its answers. `scale` is the run's scale as a number."""
    settings = {"scale": scale, "control": config.data.control, "seed": config.seed}
    # The whole identity of the answers is kept for `why=true`, which compares fields; predictions record only its name.
    inputs = {"stages": {job.stage.name: job.identity for job in jobs}, "answers": answers.plain()}
    return identity("result", settings=settings, inputs=inputs, version=RESULT_VERSION)


def finished_result(folder: Path, config: TrainConfig, work: Identity) -> RunResult | None:
    """The result in the run's folder if it is finished, made by `work`, and has all requested settings; else None.

    A result whose answers are missing or damaged is not finished.
    """
    try:
        result = read_result(folder)
        asked = {*config.benchmark.answering.settings, *config.benchmark.answering.probes}
        if result.status != FINISHED or result.made_by != work.name or not asked <= set(result.scores):
            return None
        read_answers_of(folder, result)
    except (MissingInputError, DataError):
        return None
    return result


def set_damaged_answers_aside(folder: Path) -> None:
    """Rename the answers in the run's folder if they are damaged, so that all questions are asked again."""
    path = folder / PREDICTIONS_FILE
    try:
        result = read_result(folder)
    except (MissingInputError, DataError):
        return
    try:
        read_answers_of(folder, result)
    except MissingInputError:
        return
    except DataError as error:
        aside = path.with_suffix(".damaged.jsonl")
        log.warning("%s The damaged file is kept as %s.", error, aside.name)
        path.replace(aside)
