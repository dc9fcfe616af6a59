"""One run: inputs, stages, evaluation, result. Existing work is reused, and a killed run resumes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
    further_study,
    write_result,
)
from sg.core.commands import invocation
from sg.core.errors import DataError, Terminated, disk_problem, first_line
from sg.core.files import file_lock
from sg.core.identity import made_by
from sg.core.places.mirror import mirror_of
from sg.core.scales import scale_label
from sg.core.tracking import Tracker
from sg.evaluate.benchmark import Benchmark, read_askable_benchmarks
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
    from sg.models.student import Student
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


def per_benchmark(run: StudyRun) -> list[StudyRun]:
    """The run once per benchmark, as `benchmark=[a,b]` gives several: itself with the first, the others elsewhere.

    The results with a further benchmark make a study of their own in `benchmarks/NAME` of the study's folder.
    """
    first, *others = run.config.per_benchmark()
    further = (further_study(run.folder.parent, config.benchmark.name) / run.name for config in others)
    return [
        replace(run, config=first),
        *(StudyRun(config, run.study, run.name, folder) for config, folder in zip(others, further, strict=True)),
    ]


def run_study(run: StudyRun) -> RunResult | None:
    """Make the run or the missing part of it, and return its result, which is also in `result.json`.

    Every process of a team calls this; the leading one returns the result, the others None. With several benchmarks,
    the result of the first one is written last: it says that the run is complete.

    If the run fails, a result with the reason is written, which the tables of the study show, and the error is raised.
    The result of an earlier, finished run is kept.
    """
    started = time.monotonic()
    team = join_team(run.config.trainer.accelerator, run.config.trainer.world_size)
    if not team.leads:
        _assist(run, team)
        return None
    runs = per_benchmark(run)
    # Two commands that make the same run at once would both append to its answers: the second one waits.
    with file_lock(run.folder / ".run.lock"):
        for one in runs:
            forget_failure(one.folder)
        try:
            results = _make(run, runs, started, team)
        except BaseException as error:
            note_reason(run, _reason(error))
            raise
        for one, result in reversed(list(zip(runs, results, strict=True))):
            write_result(one.folder, result)
        return results[0]


def _reason(error: BaseException) -> str:
    if isinstance(error, Terminated):
        return "ended by SIGTERM"
    if isinstance(error, KeyboardInterrupt):
        return "stopped by the user"
    if isinstance(error, SystemExit):
        return "stopped by the cluster, which queues it again"
    return disk_problem(error) or first_line(error)


def note_reason(run: StudyRun, reason: str) -> None:
    """Write a failed result with its reason for every benchmark that the run has no result with."""
    for one in per_benchmark(run):
        note_failed_run(one.folder, _result(one, asked_scale(one.config.data), status=FAILED, reason=reason))


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
    found: list[RunResult | None] = team.agreed(list)
    if None not in found:
        return
    from sg.study.models import StudyModels

    models = StudyModels(config.model, config.trainer, config.work_folder, config.seed, team, config.stage.trained)
    configs = config.per_benchmark()
    benchmarks = read_askable_benchmarks(one.benchmark for one in configs)
    work = _named_work(configs, data, files, media, models, benchmarks)[0]
    _train(config, work.jobs, models, lambda values: None, models.asking(benchmarks[0], config.benchmark))


@dataclass(frozen=True, slots=True)
class _Part:
    """A run with one of its benchmarks; `finished` is its result of an earlier command."""

    run: StudyRun
    benchmark: Benchmark
    work: RunWork
    finished: RunResult | None


def _make(run: StudyRun, runs: Sequence[StudyRun], started: float, team: Team) -> list[RunResult]:
    """The results of the run with each of its benchmarks; `runs` are those of `per_benchmark`."""
    config, configs = run.config, [one.config for one in runs]
    data = read_data(config, team.agreed(lambda: make_inputs(config)))
    files, benchmarks = clip_files(config), read_askable_benchmarks(one.benchmark for one in configs)
    media = team.agreed(lambda: files.look(data.clips))
    finished = team.agreed(lambda: [_reusable_result(*one, data, media) for one in zip(runs, benchmarks, strict=True)])
    results = [result for result in finished if result is not None]
    if len(results) == len(runs):
        return results
    with _tracker(run, data.caption) as tracker:
        from sg.study.models import StudyModels

        models = StudyModels(config.model, config.trainer, config.work_folder, config.seed, team, config.stage.trained)
        works = _named_work(configs, data, files, media, models, benchmarks)
        stages = _train(config, works[0].jobs, models, tracker.log, models.asking(benchmarks[0], config.benchmark))
        trained_s = time.monotonic() - started
        parts = [_Part(*one) for one in zip(runs, benchmarks, works, finished, strict=True)]
        answers, measured = _evaluate(parts, models)
        results = []
        for part, (scores, seconds) in zip(parts, answers, strict=True):
            if part.finished is None:
                timings = {"train_s": trained_s, "evaluate_s": seconds}
                result = _finished(part, data, stages, scores, timings=timings, **measured)
                tracker.summary(_summary(result, stages))
                record_run(tracker, result, part.run.folder, data.inputs, part.work.jobs, part.benchmark)
            results.append(part.finished or result)
    return results


def _finished(
    part: _Part,
    data: RunData,
    stages: Mapping[str, tuple[StageInfo, bool]],
    scores: dict[str, dict[str, float]],
    **values: object,
) -> RunResult:
    """The result of a run that was trained and asked."""
    from sg.train.stage import library_versions

    folder, registration = part.run.folder, read_registration(part.run.folder.parent)
    return _result(
        part.run,
        data.caption.scale,
        num_captions=stages["caption"][0].distinct_samples if "caption" in stages else 0,
        steps={name: info.steps for name, (info, _) in stages.items()},
        stages={name: StageResult(info.fingerprint, reused, info.seconds) for name, (info, reused) in stages.items()},
        scores=scores,
        answers=answers_record(read_predictions(folder / PREDICTIONS_FILE), scores),
        registration="" if registration is None else registration.fingerprint,
        inputs=data.inputs.recorded(),
        inputs_content={**data.caption.content, "forest": read_forest(data.inputs.forest).content_hash},
        versions={**library_versions(), "evaluation": part.work.answers.name},
        **made_by(part.work.result),
        **values,
    )


def _reusable_result(run: StudyRun, benchmark: Benchmark, data: RunData, media: Media) -> RunResult | None:
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
    if mirror_of(job.folder) is not None:
        return  # they would be copied from their address first
    try:
        check_stage_files(job.folder)
    except DataError as error:
        log.warning("%s", error)


def _named_work(
    configs: Sequence[TrainConfig],
    data: RunData,
    files: ClipFiles,
    media: Media,
    models: StudyModels,
    benchmarks: Sequence[Benchmark],
) -> list[RunWork]:
    """What the run makes with each benchmark, after all clips were opened; every process of the team calls this.

    Raises:
        DataError: a file was replaced while it was read.
    """
    models.open_clips(files, media, benchmarks)
    media = models.team.agreed(lambda: files.look(data.clips))
    if media.unknown:
        path = next(iter(media.unknown.values())).path
        raise DataError(f"{path} was replaced while it was read: run the same command again.")
    models.use(media)
    return [run_work(config, data, media, asked) for config, asked in zip(configs, benchmarks, strict=True)]


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
        axes={
            f"{kind}/{stage.name}/*": f"train/{stage.name}/samples"
            for stage in config.stage.stages
            for kind in ("train", "evaluate")
        },
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
    ask: Callable[[Student], Mapping[str, float]] | None,
) -> dict[str, tuple[StageInfo, bool]]:
    """Train the stages in order; return {stage: (what made it, whether it was reused)}."""
    from sg.train.stage import train_stage

    done: dict[str, tuple[StageInfo, bool]] = {}
    parent: StageJob | None = None
    for job in jobs:
        found = models.team.agreed(partial(read_stage_info, job.folder))
        if found is None:
            info, reused = train_stage(
                job, models.loader(parent), models.processor, models.clips, config.trainer, report, models.team, ask
            )
        else:
            models.team.agreed(partial(check_stage_files, job.folder))
            info, reused = found, True
        log.info("stage %s: %s %s", job.stage.name, "reused" if reused else "trained", job.folder.name)
        done[job.stage.name] = (info, reused)
        parent = job
    return done


def _evaluate(
    parts: Sequence[_Part], models: StudyModels
) -> tuple[list[tuple[dict[str, dict[str, float]], float]], dict[str, HeldOutLoss | int | None]]:
    """Answer the benchmarks in every setting and probe, and compute the losses on the held-out captions.

    Returns:
        For each part ({setting: {bucket: percent}}, seconds); fields of the result: mean losses on held-out captions
        and on dialogs of the model's own kind, None without them, and the number of weights.
    """
    from sg.evaluate.run import evaluate_model
    from sg.train.stage import checkpoint_of

    jobs, work = parts[0].work.jobs, parts[0].work
    student, shown = models.asked_student(checkpoint_of(jobs[-1] if jobs else None), [one.benchmark for one in parts])
    weights = student.size.language_model_weights + student.size.connector_weights
    answers: list[tuple[dict[str, dict[str, float]], float]] = []
    for part, (features, failures) in zip(parts, shown, strict=True):
        began, scores = time.monotonic(), {}
        if part.finished is None:
            set_damaged_answers_aside(part.run.folder)
            scores = evaluate_model(
                student, models.processor, part.benchmark, features, part.run.config.benchmark,
                part.run.folder / PREDICTIONS_FILE, made_by=part.work.answers.name, failures=failures,
            )  # fmt: skip
        answers.append((scores, time.monotonic() - began))
    rows, config = [], parts[0].run.config
    own = caption_losses(config, work.own_dialogs, models, student) if work.own_dialogs.items else []
    if work.held_out.items:
        began = time.monotonic()
        del student, shown, features
        job = captioning_job(jobs, config.stage)
        rows = caption_losses(config, work.held_out, models, models.answering_student(checkpoint_of(job)))
        # The losses belong to no benchmark: the first one's result has their time.
        answers[0] = (answers[0][0], answers[0][1] + time.monotonic() - began)
    for part in parts if rows else ():
        write_caption_losses(part.run.folder, rows, part.work.losses.name)
    return answers, {"held_out": mean_loss(rows), "forgetting": mean_loss(own), "weights": weights}


def _summary(result: RunResult, stages: Mapping[str, tuple[StageInfo, bool]]) -> dict[str, float | str]:
    values: dict[str, float | str] = {"scale": result.scale, "num_captions": result.num_captions}
    for setting, buckets in result.scores.items():
        values |= {f"{result.benchmark}/{setting}/{bucket}": score for bucket, score in buckets.items()}
    if result.held_out is not None:
        values |= {
            "held_out/loss_per_token": result.held_out.per_token,
            "held_out/loss_per_caption": result.held_out.per_caption,
        }
    if result.forgetting is not None:
        values["forgetting/loss_per_token"] = result.forgetting.per_token
    for name, (info, _) in stages.items():
        values |= {f"train/{name}/steps": info.steps, f"train/{name}/seconds": info.seconds}
        if info.final_loss is not None:
            values[f"train/{name}/final_loss"] = info.final_loss
    return values
