"""One run: inputs, stages, evaluation, result. Existing work is reused, and a killed run resumes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.arms import HEADLINE, read_registration
from sg.artefacts.checkpoint import StageInfo, check_stage_files, read_stage_info
from sg.artefacts.forest import read_forest
from sg.artefacts.held_out import HeldOutLoss, mean_loss, write_caption_losses
from sg.artefacts.predictions import read_predictions
from sg.artefacts.result import (
    FAILED,
    PREDICTIONS_FILE,
    RunResult,
    StageResult,
    answers_record,
    write_result,
)
from sg.core.commands import invocation
from sg.core.errors import DataError, Terminated, disk_problem
from sg.core.files import file_lock
from sg.core.identity import made_by
from sg.core.scales import scale_label
from sg.core.tracking import Tracker
from sg.evaluate.benchmark import Benchmark, read_askable_benchmark
from sg.study.config import TrainConfig
from sg.study.core_counts import asked_scale
from sg.study.held_out import caption_losses
from sg.study.inputs import make_inputs
from sg.study.results import RunWork, captioning_job, finished_result, run_work, set_damaged_answers_aside
from sg.study.run_tracking import record_run
from sg.study.stages import CaptionData, RunData, clip_files, read_data
from sg.study.study_data import check_study_data, data_identity
from sg.study.sweep import forget_failure, note_failed_run
from sg.train.data.media import ClipFiles, Media
from sg.train.processes import Team, join_team

if TYPE_CHECKING:
    from sg.study.models import StudyModels
    from sg.train.stage import StageJob

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StudyRun:
    """A run to make: its settings, the name of its study, its own name and its folder."""

    config: TrainConfig
    study: str
    name: str
    folder: Path


def run_study(run: StudyRun) -> RunResult | None:
    """Make the run or the missing part of it, and return its result, which is also in `result.json`.

    Every process of a team calls this; the leading one returns the result, the others None.

    If the run fails, a result with the reason is written, which the tables of the study show, and the error is raised.
    The result of an earlier, finished run is kept.
    """
    started = time.monotonic()
    team = join_team(run.config.trainer.accelerator, run.config.trainer.devices)
    if not team.leads:
        _assist(run, team)
        return None
    # Two commands that make the same run at once would both append to its answers: the second one waits.
    with file_lock(run.folder / ".run.lock"):
        forget_failure(run.folder)
        try:
            result = _make(run, started, team)
        except BaseException as error:
            note_reason(run, _reason(error))
            raise
        write_result(run.folder, result)
    return result


def _reason(error: BaseException) -> str:
    if isinstance(error, Terminated):
        return "ended by SIGTERM"
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "stopped by the user"
    return disk_problem(error) or (str(error).splitlines() or [type(error).__name__])[0]


def note_reason(run: StudyRun, reason: str) -> None:
    """Write a failed result with its reason, unless the run has a result."""
    note_failed_run(run.folder, _result(run, asked_scale(run.config.data), status=FAILED, reason=reason))


def _assist(run: StudyRun, team: Team) -> None:
    """The work of a process that does not lead: encode its share of the clips, and train.

    It reads the files that the leading process has made, and takes over its decisions. It calls the same collective
    operations as `_make`, in the same order.
    """
    config = run.config
    logging.getLogger().setLevel(logging.ERROR)
    data = read_data(config, team.agreed(lambda: make_inputs(config)))
    files = clip_files(config)
    media = team.agreed(lambda: files.look(data.clips))
    if team.agreed(lambda: False):
        return
    from sg.study.models import StudyModels

    models = StudyModels(config.model, config.trainer, config.work_folder, config.seed, team, config.stage.trained)
    work = _named_work(config, data, files, media, models, read_askable_benchmark(config.benchmark))
    _train(config, work.jobs, models, lambda values: None)


def _make(run: StudyRun, started: float, team: Team) -> RunResult:
    config, registration = run.config, read_registration(run.folder.parent)
    data = read_data(config, team.agreed(lambda: make_inputs(config)))
    files, benchmark = clip_files(config), read_askable_benchmark(config.benchmark)
    media = team.agreed(lambda: files.look(data.clips))
    finished = team.agreed(lambda: _reusable_result(run, data, media, benchmark))
    if finished is not None:
        return finished
    with _tracker(run, data.caption) as tracker:
        from sg.study.models import StudyModels
        from sg.train.stage import library_versions

        models = StudyModels(config.model, config.trainer, config.work_folder, config.seed, team, config.stage.trained)
        work = _named_work(config, data, files, media, models, benchmark)
        stages = _train(config, work.jobs, models, tracker.log)
        trained = time.monotonic()
        scores, losses, weights = _evaluate(run, models, work, benchmark)
        result = _result(
            run,
            data.caption.scale,
            num_captions=stages["caption"][0].distinct_samples if "caption" in stages else 0,
            steps={name: info.steps for name, (info, _) in stages.items()},
            stages={
                name: StageResult(info.fingerprint, reused, info.seconds) for name, (info, reused) in stages.items()
            },
            scores=scores,
            answers=answers_record(read_predictions(run.folder / PREDICTIONS_FILE), scores),
            held_out=losses,
            weights=weights,
            registration="" if registration is None else registration.fingerprint,
            inputs=data.inputs.recorded(),
            inputs_content={**data.caption.content, "forest": read_forest(data.inputs.forest).content_hash},
            timings={"train_s": trained - started, "evaluate_s": time.monotonic() - trained},
            versions={**library_versions(), "evaluation": work.answers.name},
            **made_by(work.result),
        )
        tracker.summary(_summary(result, stages))
        record_run(tracker, result, run.folder, data.inputs, work.jobs, benchmark)
    return result


def _reusable_result(run: StudyRun, data: RunData, media: Media, benchmark: Benchmark) -> RunResult | None:
    """The finished result of exactly this run, or None. An impossible run raises here, before models are loaded.

    Raises:
        ConfigError: the study holds runs on other data.
        MissingInputError: too many media are missing.
    """
    config = run.config
    check_study_data(run.folder, data_identity(config, data, benchmark))
    work = run_work(config, data, media, benchmark)
    if media.unknown:  # The names are provisional until all clips have been opened.
        return None
    finished = finished_result(run.folder, config, work.result)
    if finished is not None:
        for job in work.jobs:
            _warn_of_damage(job)
            log.info("stage %s: reused %s", job.stage.name, job.folder.name)
        log.info("run %s: finished before, its result is reused", run.name)
    return finished


def _warn_of_damage(job: StageJob) -> None:
    """Report a damaged stage whose weights this run does not need, because its result exists."""
    try:
        check_stage_files(job.folder)
    except DataError as error:
        log.warning("%s", error)


def _named_work(
    config: TrainConfig, data: RunData, files: ClipFiles, media: Media, models: StudyModels, benchmark: Benchmark
) -> RunWork:
    """What the run makes, after all its clips were opened; every process of the team calls this.

    Raises:
        DataError: a file was replaced while it was read.
    """
    models.open_clips(files, media, benchmark)
    media = models.team.agreed(lambda: files.look(data.clips))
    if media.unknown:
        path = next(iter(media.unknown.values())).path
        raise DataError(f"{path} was replaced while it was read: run the same command again.")
    models.use(media)
    return run_work(config, data, media, benchmark)


def _result(run: StudyRun, scale: int, **values: object) -> RunResult:
    control = run.config.data.control
    return RunResult(
        run=run.name,
        study=run.study,
        scale=scale,
        scale_label=scale_label(scale),
        seed=run.config.seed,
        control=None if control == HEADLINE else control,
        benchmark=run.config.benchmark.name,
        command=invocation(),
        config=asdict(run.config),
        **values,  # type: ignore[arg-type]  # fields of RunResult by name
    )


def _tracker(run: StudyRun, caption: CaptionData) -> Tracker:
    config = run.config
    return Tracker(
        config.logger,
        run.folder,
        name=run.name,
        group=run.study,
        job_type="train",
        axes={f"train/{stage.name}/*": f"train/{stage.name}/samples" for stage in config.stage.stages},
        settings={**asdict(config), "scale": caption.scale},
        tags=[
            config.data.name,
            scale_label(caption.scale),
            config.model.name,
            *([config.data.control] * (config.data.control != HEADLINE)),
        ],
    )


def _train(
    config: TrainConfig,
    jobs: list[StageJob],
    models: StudyModels,
    report: Callable[[Mapping[str, float]], None],
) -> dict[str, tuple[StageInfo, bool]]:
    """Train the stages in order; return {stage: (what made it, whether it was reused)}."""
    from sg.train.stage import train_stage

    done: dict[str, tuple[StageInfo, bool]] = {}
    parent: StageJob | None = None
    for job in jobs:
        found = models.team.agreed(partial(read_stage_info, job.folder))
        if found is None:
            info, reused = train_stage(
                job, models.loader(parent), models.processor, models.clips, config.trainer, report, models.team
            )
        else:
            models.team.agreed(partial(check_stage_files, job.folder))
            info, reused = found, True
        log.info("stage %s: %s %s", job.stage.name, "reused" if reused else "trained", job.folder.name)
        done[job.stage.name] = (info, reused)
        parent = job
    return done


def _evaluate(
    run: StudyRun, models: StudyModels, work: RunWork, benchmark: Benchmark
) -> tuple[dict[str, dict[str, float]], HeldOutLoss | None, int]:
    """Answer the benchmark in every setting and probe, and compute the losses on the held-out captions.

    Returns:
        ({setting: {bucket: percent}}, mean losses, number of weights); the losses are None without held-out captions.
    """
    from sg.evaluate.run import evaluate_model
    from sg.train.stage import checkpoint_of

    set_damaged_answers_aside(run.folder)
    student, features, failures = models.asked_student(checkpoint_of(work.jobs[-1] if work.jobs else None), benchmark)
    scores = evaluate_model(
        student, models.processor, benchmark, features, run.config.benchmark,
        run.folder / PREDICTIONS_FILE, made_by=work.answers.name, failures=failures,
    )  # fmt: skip
    rows, weights = [], student.size.language_model_weights + student.size.connector_weights
    if work.held_out.items:
        del student, features
        job = captioning_job(work.jobs, run.config.stage)
        captioning = models.answering_student(checkpoint_of(job))
        rows = caption_losses(run.config, work.held_out, models, captioning)
    if rows:
        write_caption_losses(run.folder, rows, work.losses.name)
    return scores, mean_loss(rows), weights


def _summary(result: RunResult, stages: Mapping[str, tuple[StageInfo, bool]]) -> dict[str, float | str]:
    values: dict[str, float | str] = {"scale": result.scale, "num_captions": result.num_captions}
    for setting, buckets in result.scores.items():
        values |= {f"{result.benchmark}/{setting}/{bucket}": score for bucket, score in buckets.items()}
    if result.held_out is not None:
        values |= {
            "held_out/loss_per_token": result.held_out.per_token,
            "held_out/loss_per_caption": result.held_out.per_caption,
        }
    for name, (info, _) in stages.items():
        values |= {f"train/{name}/steps": info.steps, f"train/{name}/seconds": info.seconds}
        if info.final_loss is not None:
            values[f"train/{name}/final_loss"] = info.final_loss
    return values
