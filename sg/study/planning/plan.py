"""The plan of a run or a sweep, made without loading a model: what is trained, what is reused, what is missing."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sg.artefacts.arms import HEADLINE, INSTRUCT_STEPS
from sg.artefacts.checkpoint import read_stage_info
from sg.core.errors import ConfigError, MissingInputError
from sg.core.output import show
from sg.core.scales import parse_scale
from sg.models.student import STUDENTS
from sg.study.arms import check_instruct_steps
from sg.study.config import TrainConfig, run_name, study_identity, study_name
from sg.study.core_counts import caption_draws
from sg.study.planning.captions import caption_lines, caption_prices, check_buying
from sg.study.planning.costs import Costs
from sg.study.planning.estimate import expected_draws
from sg.study.planning.power import plan_power
from sg.train.checks import check_machine, missing_library
from sg.train.config import StageConfig, num_steps
from sg.train.stage import StageJob

TO_TRAIN, REUSED, SHARED = "train", "reuse", "shared"

PLAN_SCHEMA = 1
"""Version of the JSON that `dry_run=true format=json` prints."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage of a run.

    Attributes:
        samples: None if the number depends on data that does not exist yet.
        action: TO_TRAIN, REUSED, or SHARED with an earlier run of the plan.
        name: fingerprint, or a placeholder before the data exists; stages with equal names are one.
    """

    run: str
    stage: StageConfig
    samples: int | None
    action: str
    name: str

    @property
    def steps(self) -> int | None:
        """Optimiser steps."""
        return None if self.samples is None else num_steps(self.samples, self.stage.batch_size)


def check_run(config: TrainConfig) -> None:
    """Refuse impossible settings before anything is loaded.

    Raises:
        ConfigError: the scale, the control or the batch sizes are impossible, or `data.dir` holds other data.
    """
    data = config.data
    caption_draws(config, data.expected_captions)
    if data.control != HEADLINE and parse_scale(str(data.scale)) == 0:
        raise ConfigError(f"data.control={data.control} needs captions to control for: give a data.scale above 0.")
    if data.control == INSTRUCT_STEPS:
        check_instruct_steps(config)
    check_parts(config)
    check_buying(config)
    check_machine(config.stage, config.trainer)
    if (missing := missing_library(config.stage)) and not (config.rehearse or config.dry_run):
        raise ConfigError(f"This run needs {missing}.")
    data.check_place()


def check_parts(config: TrainConfig) -> None:
    """Raise ConfigError if a stage trains a part of the student that cannot be trained."""
    trainable = STUDENTS.of(config.model).trainable
    for stage in config.stage.stages:
        if frozen := [part for part in stage.trains if part not in trainable]:
            raise ConfigError(
                f"stage.{stage.name}.trains={stage.trains}, but {frozen[0]} of model={config.model.name} is always "
                f"frozen: it has {', '.join(trainable)} to train."
            )


def plan_run(config: TrainConfig, run: str) -> list[PlannedStage]:
    """The stages of one run. Fingerprints and exact counts need the run's inputs; without them both are estimated."""
    from sg.study.inputs import locate_inputs, missing_inputs
    from sg.study.stages import known_media, read_data, stage_jobs

    if not missing_inputs(config):
        data = read_data(config, locate_inputs(config))
        return [_planned(run, job) for job in stage_jobs(config, data, known_media(config, data), is_plan=True)]
    recipe = config.stage
    core = "" if parse_scale(str(config.data.scale)) == 0 else f" {config.data.dir} {study_identity(config).name}"
    return [
        PlannedStage(
            run,
            stage,
            count,
            TO_TRAIN,
            f"{config.model.name} {stage.name} {config.seed if stage is recipe.align else f'{run}{core}'}",
        )
        for stage, count in expected_draws(config)
        if count != 0
    ]


def _planned(run: str, job: StageJob) -> PlannedStage:
    action = TO_TRAIN if read_stage_info(job.folder, job.fingerprint) is None else REUSED
    return PlannedStage(run, job.stage, job.num_draws, action, job.fingerprint)


def planned_work(configs: Sequence[TrainConfig]) -> tuple[list[dict[str, Any]], Costs]:
    """The rows of the stages of the runs, and what they cost."""
    first = configs[0]
    models = {config.model.name: config.model for config in configs}
    is_gpu = first.trainer.accelerator == "gpu"
    sizes = {name: STUDENTS.of(model).describe(model) if is_gpu else None for name, model in models.items()}
    costs = Costs(first, sizes)
    rows: list[dict[str, Any]] = []
    label = _study_labels(configs)
    for config in configs:
        data = config.data
        run = run_name(str(data.scale), data.control, str(data.control_scale), config.seed)
        for stage in plan_run(config, run):
            action = SHARED if any(stage.name == row["name"] for row in rows) else stage.action
            cost = costs.of_stage(config, stage.stage, stage.samples, action == TO_TRAIN)
            rows.append(
                {
                    "run": f"{label(config)} {run}".strip(), "stage": stage.stage.name, "name": stage.name,
                    "samples": stage.samples, "steps": stage.steps, **cost, "action": action,
                }
            )  # fmt: skip
    return rows, costs


def _study_labels(configs: Sequence[TrainConfig]) -> Callable[[TrainConfig], str]:
    """What names the study of a run in a plan: nothing, the model, the name, or both; else the study's folder."""
    folders = {study_name(config) for config in configs}
    labels: list[Callable[[TrainConfig], str]] = [
        lambda config: "",
        lambda config: config.model.name,
        lambda config: config.name,
        lambda config: f"{config.name} {config.model.name}",
    ]
    return next((label for label in labels if len({label(one) for one in configs}) == len(folders)), study_name)


def print_plan(configs: Sequence[TrainConfig], on_cluster: bool = False) -> list[str]:
    """Print the stages, costs and missing things of the runs; return what is missing and not made by the run itself.

    The GPUs of this machine do not count if the runs are jobs of a cluster.
    """
    from sg.study.inputs import missing_inputs, missing_on_machine, needs_demo_world

    first = configs[0]
    rows, costs = planned_work(configs)
    on_the_fly = first.data.is_made_on_the_way
    made: list[str] = []
    missing: list[str] = []
    for line in missing_inputs(first):
        # The demo world is built for any data, before the run checks for inputs that it cannot make.
        is_made = on_the_fly if "(made by:" in line else needs_demo_world(first)
        (made if is_made else missing).append(line)
    missing += missing_on_machine(first, on_cluster)
    record = {
        "stages": rows, "totals": costs.totals(configs), "captions": caption_prices(configs),
        "made_on_the_way": made, "missing": missing, "notes": _notes(first),
        "power": plan_power(configs, costs.size),
    }  # fmt: skip
    show("plan", PLAN_SCHEMA, record, lambda: _plan_text(record, costs), first.format)
    return missing


def refuse_missing(missing: Sequence[str]) -> None:
    """Raise MissingInputError if a plan found something `missing`: a dry run then has an exit code of its own."""
    if missing:
        are = "thing is" if len(missing) == 1 else "things are"
        raise MissingInputError(f"{len(missing)} {are} missing for this plan, first {missing[0]}.")


def _notes(config: TrainConfig) -> list[str]:
    from sg.core.tracking import resolved_mode

    if config.logger.kind == "wandb" and resolved_mode(config.logger) == "offline":
        return ["no W&B key (WANDB_API_KEY): runs are logged offline"]
    return []


def _plan_text(record: Mapping[str, Any], costs: Costs) -> str:
    """Return the plan as a table and the lines below it."""
    from rich.console import Console
    from rich.table import Table

    from sg.report.pages.power import power_text

    cost_columns = ["FLOPs", "GPU-hours"] if costs.size is not None else []
    table = Table("run", "stage", "samples", "steps", *cost_columns, "what happens", title="Plan")
    for row in record["stages"]:
        counts = ["?" if row[key] is None else f"{row[key]:,}" for key in ("samples", "steps")]
        cells = costs.cells(row) if cost_columns else []
        table.add_row(row["run"], row["stage"], *counts, *cells, row["action"])
    stream = io.StringIO()
    Console(width=120, soft_wrap=True, file=stream).print(table)
    lines = [
        *costs.lines(record["totals"]),
        *caption_lines(record["captions"]),
        *(f"the run makes: {line}" for line in record["made_on_the_way"]),
        *(f"missing: {line}" for line in record["missing"]),
        *(f"note: {line}" for line in record["notes"]),
        *([power_text(record["power"])] if record["power"] else []),
    ]
    return stream.getvalue() + "\n".join(lines)
