"""`why=true`: which steps of a run are reused, resumed or made again, and what differs from the nearest earlier work.

Nothing is made, trained or written. A step that depends on a file that has to be made first is `undecided`, because the
content of that file decides.
"""

from collections.abc import Sequence
from pathlib import Path

from sg.artefacts.checkpoint import INFO_FILE, read_stage_info, resume_points
from sg.artefacts.predictions import read_predictions
from sg.artefacts.result import PREDICTIONS_FILE, RESULT_FILE, further_study
from sg.artefacts.visual_tokens.store import INFO_FILE as TOKENS_FILE
from sg.core.identity import Identity, from_plain
from sg.core.output import show
from sg.evaluate.benchmark import read_askable_benchmarks
from sg.study.config import TrainConfig, run_name, study_name
from sg.study.inputs import locate_inputs, missing_inputs
from sg.study.planning.data_steps import data_steps
from sg.study.planning.steps import MADE, RESUMED, REUSED, UNDECIDED, StepReport, against, identities_in, text_of
from sg.study.results import finished_result, run_work
from sg.study.stages import clip_files, feature_cache, read_data
from sg.train.data.media import Media, cache_folder
from sg.train.stage import StageJob

WHY_SCHEMA = 1
"""Version of the layout of `why=true format=json`."""


def print_why(configs: Sequence[TrainConfig]) -> None:
    """Print for every step of the runs what happens to it and why."""
    runs = []
    texts = []
    for config in configs:
        folder = run_folder(config)
        reports = explain_run(config, folder)
        runs.append({"run": folder.name, "study": folder.parent.name, "steps": [one.record() for one in reports]})
        texts.append(f"{folder.name} ({folder})\n{text_of(reports)}")
    show("why", WHY_SCHEMA, {"runs": runs}, lambda: "\n\n".join(texts), configs[0].format)


def run_folder(config: TrainConfig) -> Path:
    """Folder of the run's result."""
    data = config.data
    name = run_name(str(data.scale), data.control, str(data.control_scale), config.seed)
    return Path(config.paths.runs) / study_name(config) / name


def explain_run(config: TrainConfig, folder: Path) -> list[StepReport]:
    """One report for each step of a run, in order; `folder` is the folder of the run's result."""
    inputs = locate_inputs(config)
    steps = data_steps(config, inputs)
    waits_for = [step.step for step in steps if step.action != REUSED]
    if waits_for or missing_inputs(config):
        note = f"after {', '.join(waits_for) or 'the dialogs of the stages'}"
        stages = (f"stage {stage.name}" for stage in config.stage.stages)
        rest = ("visual tokens", *stages, "evaluation", "result")
        return [*steps, *(StepReport(step, UNDECIDED, folder, note) for step in rest)]
    data = read_data(config, inputs)
    media = clip_files(config).look(data.clips)
    configs = config.per_benchmark()
    benchmarks = read_askable_benchmarks(one.benchmark for one in configs)
    works = [run_work(one, data, media, asked, is_plan=True) for one, asked in zip(configs, benchmarks, strict=True)]
    steps.append(_tokens_step(config, media))
    steps += [_stage_step(config, job) for job in works[0].jobs]
    further = [further_study(folder.parent, one.benchmark.name) / folder.name for one in configs[1:]]
    for one, work, place in zip(configs, works, [folder, *further], strict=True):
        steps += _result_steps(one, place, work.result, work.answers)
    return steps


def _tokens_step(config: TrainConfig, media: Media) -> StepReport:
    cache = feature_cache(config)
    if cache is None:
        off = "trainer.visual_token_cache=false" if not config.trainer.visual_token_cache else "stages change them"
        return StepReport("visual tokens", MADE, config.work_folder / "visual_tokens", f"{off}: computed in every step")
    work = cache.identity
    folder = cache_folder(config.work_folder, work)
    if (folder / TOKENS_FILE).is_file():
        note = ""
        if media.unknown:
            first = min(media.unknown.values(), key=lambda clip: clip.key)
            note = f"{len(media.unknown):,} clips are new or replaced, such as {first.path}"
        return StepReport("visual tokens", RESUMED if media.unknown else REUSED, folder, note)
    return against("visual tokens", folder, work, identities_in(folder.parent.glob(f"*/{TOKENS_FILE}")))


def _stage_step(config: TrainConfig, job: StageJob) -> StepReport:
    step = f"stage {job.stage.name}"
    if read_stage_info(job.folder, job.fingerprint) is not None:
        return StepReport(step, REUSED, job.folder)
    saved = resume_points(job.folder)
    if saved:
        return StepReport(step, RESUMED, job.folder, saved[-1].stem)
    return against(
        step, job.folder, job.identity, identities_in(config.stages_folder.glob(f"{job.stage.name}-*/{INFO_FILE}"))
    )


def _result_steps(config: TrainConfig, folder: Path, work: Identity, answers: Identity) -> list[StepReport]:
    """Evaluation and result, compared with the result in the folder, or else with the same run of other studies."""
    result_file, predictions = folder / RESULT_FILE, folder / PREDICTIONS_FILE
    here = identities_in([result_file] if result_file.is_file() else [])
    studies = folder.parent.parent.glob(f"{config.name}-*/{folder.name}/{RESULT_FILE}")
    found = here or identities_in(studies)
    earlier = {path: from_plain(result.inputs["answers"]) for path, result in found.items()}
    if finished_result(folder, config, work) is not None:
        return [StepReport("evaluation", REUSED, predictions), StepReport("result", REUSED, result_file)]
    rows = read_predictions(predictions, may_be_cut=True) if predictions.is_file() else []
    num_answers = sum(row.made_by == answers.name for row in rows)
    evaluation = against("evaluation", predictions, answers, earlier)
    if num_answers:
        evaluation = StepReport("evaluation", RESUMED, predictions, f"{num_answers:,} answers exist")
    return [evaluation, against("result", result_file, work, found)]
