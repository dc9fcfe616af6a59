"""The identity of the result of a run, and whether an existing result can be reused."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.artefacts.held_out import read_caption_losses
from sg.artefacts.result import FINISHED, PREDICTIONS_FILE, RESULT_FILE, RunResult, read_answers_of, read_result
from sg.core.errors import DataError, MissingInputError
from sg.core.identity import Identity, identity
from sg.evaluate.answering import answers_identity
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.scoring import score
from sg.study.config import TrainConfig
from sg.study.held_out import FORGETTING, HeldOut, check_held_out, loss_identity
from sg.study.stages import RunData, stage_jobs
from sg.train.config import RecipeConfig
from sg.train.data.media import Media
from sg.train.stage import StageJob

log = logging.getLogger(__name__)

RESULT_VERSION = 2
"""Raise it when the same answers would give other scores or another `result.json`."""


@dataclass(frozen=True, slots=True)
class RunWork:
    """What a run makes, by identity: its stages, its answers, its losses on the held-out captions, its result.

    The loss on `own_dialogs` is a part of the result.
    """

    jobs: list[StageJob]
    answers: Identity
    held_out: HeldOut
    losses: Identity
    result: Identity
    own_dialogs: HeldOut = field(default_factory=HeldOut)


def captioning_job(jobs: list[StageJob], recipe: RecipeConfig) -> StageJob | None:
    """The stage whose student predicts the held-out captions: the last one before instruct, which makes it forget them.

    None is the student as published.
    """
    before = [job for job in jobs if job.stage is not recipe.instruct]
    return before[-1] if before else None


def run_work(config: TrainConfig, data: RunData, media: Media, benchmark: Benchmark, is_plan: bool = False) -> RunWork:
    """The work of a run on `data`; its names are provisional while `media.unknown` holds clips.

    Raises:
        MissingInputError: too many media are missing, or those of all held-out captions (except in a plan).
    """
    jobs, published = stage_jobs(config, data, media, is_plan), data.inputs.base_model
    answers = answers_identity(benchmark, config.benchmark, jobs[-1].identity if jobs else published)
    held_out = data.caption.held_out.usable(media)
    if not (held_out.items or is_plan):
        check_held_out(config, data.caption.held_out, media)
    captioning = captioning_job(jobs, config.stage)
    losses = loss_identity(config, held_out, media, published if captioning is None else captioning.identity)
    settings = {"scale": data.caption.scale, "control": config.data.control, "seed": config.seed}
    # The whole identity of the answers is kept for `why=true`, which compares fields; predictions record only its name.
    stages = {job.stage.name: job.identity for job in jobs}
    inputs: dict[str, Any] = {"stages": stages, "answers": answers.plain(), "held_out": losses}
    own = data.own_dialogs.usable(media)
    if own.items:
        inputs[FORGETTING] = loss_identity(config, own, media, jobs[-1].identity if jobs else published)
    result = identity("result", settings=settings, inputs=inputs, version=RESULT_VERSION)
    return RunWork(jobs, answers, held_out, losses, result, own)


def finished_result(folder: Path, config: TrainConfig, work: Identity) -> RunResult | None:
    """The result in the run's folder if it is finished, made by `work`, and has all requested settings; else None.

    A result whose answers are missing or damaged, or whose scores are not those of its answers, is not finished.
    """
    try:
        result = read_result(folder)
        asked = {*config.benchmark.answering.settings, *config.benchmark.answering.probes}
        if result.status != FINISHED or result.made_by != work.name or not asked <= set(result.scores):
            return None
        rows = [row for row in read_answers_of(folder, result) if row.setting in result.scores]
        if result.held_out is not None:
            read_caption_losses(folder, result.held_out)
        scores = {setting: found.percentages() for setting, found in score(rows).items()}
    except (MissingInputError, DataError):
        return None
    if scores != result.scores:
        log.warning("%s holds other scores than its answers give: they are computed again.", folder / RESULT_FILE)
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
