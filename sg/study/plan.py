"""The plan of a run or a sweep, made without loading a model: what would be trained, what reused, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sg.artefacts.checkpoint import read_stage_info, stage_folder
from sg.core.errors import ConfigError
from sg.core.scales import parse_scale
from sg.sources.config import DemoDataConfig, FolderDataConfig
from sg.study.config import TrainConfig, run_name
from sg.study.core_size import expected_captions, num_core_videos
from sg.train.config import StageConfig, check_machine, num_steps

TO_TRAIN, REUSED, SHARED = "train", "reuse", "shared"


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage of a run, its samples and steps (None where the data is not there yet to count), and what happens."""

    run: str
    stage: str
    samples: int | None
    steps: int | None
    action: str
    fingerprint: str


def check_run(config: TrainConfig) -> None:
    """Refuse impossible settings before anything is loaded.

    Raises:
        ConfigError: the scale, the control or the batch sizes cannot be.
    """
    data = config.data
    available = expected_captions(config)
    scale = parse_scale(str(data.scale))
    if available is not None:
        num_core_videos(config, str(data.scale), available)
        if data.control == "equal_steps":
            num_core_videos(config, str(data.control_scale), available)
    if data.control != "none" and scale == 0:
        raise ConfigError(f"data.control={data.control} needs captions to control for: give a data.scale above 0.")
    check_machine(config.stage, config.trainer)


def plan_run(config: TrainConfig, run: str) -> list[PlannedStage]:
    """The stages of one run; fingerprints and counts are known where the run's inputs exist."""
    from sg.study.inputs import locate_inputs, missing_inputs
    from sg.study.stages import caption_data, stage_jobs

    if not missing_inputs(config):
        inputs = locate_inputs(config)
        jobs = stage_jobs(config, inputs, caption_data(config, inputs), media_needed=False)
        return [
            PlannedStage(
                run,
                job.stage.name,
                job.num_draws,
                job.steps,
                REUSED
                if read_stage_info(stage_folder(config.stages_folder, job.stage.name, job.fingerprint))
                else TO_TRAIN,
                job.fingerprint,
            )
            for job in jobs
        ]
    draws = _expected_draws(config)
    return [
        PlannedStage(
            run, stage.name, count, None if count is None else num_steps(count, stage.batch_size), TO_TRAIN, ""
        )
        for stage, count in draws
        if count != 0
    ]


def _expected_draws(config: TrainConfig) -> list[tuple[StageConfig, int | None]]:
    """(stage, samples) of every stage before the data is there; None where only the data can tell."""
    recipe, data = config.stage, config.data
    stages = [recipe.align, recipe.caption, recipe.instruct]
    available = expected_captions(config)
    if available is None or not isinstance(data, DemoDataConfig):
        return [(stage, 0 if stage is recipe.caption and parse_scale(data.scale) == 0 else None) for stage in stages]
    scale = data.control_scale if data.control == "equal_steps" else data.scale
    captions = num_core_videos(config, scale, available)[1] if parse_scale(data.scale) != 0 else 0
    samples = (data.world.align_clips, captions, data.world.instruct_clips)
    return [(stage, count * stage.epochs) for stage, count in zip(stages, samples, strict=True)]


def print_plan(configs: Sequence[TrainConfig]) -> None:
    """Print what the runs would do, and what is missing on this machine."""
    from rich.console import Console
    from rich.table import Table

    from sg.study.inputs import missing_inputs

    console = Console(width=120, soft_wrap=True)
    table = Table("run", "stage", "samples", "steps", "what happens", title="Plan")
    seen: set[str] = set()
    for config in configs:
        data = config.data
        run = run_name(str(data.scale), data.control, str(data.control_scale), config.seed)
        for stage in plan_run(config, run):
            action = SHARED if stage.fingerprint in seen else stage.action
            if stage.fingerprint:
                seen.add(stage.fingerprint)
            counts = ["?" if count is None else f"{count:,}" for count in (stage.samples, stage.steps)]
            table.add_row(stage.run, stage.stage, *counts, action)
    console.print(table)
    on_the_fly = isinstance(configs[0].data, (DemoDataConfig, FolderDataConfig))
    for line in missing_inputs(configs[0]):
        console.print(f"{'made on the way' if on_the_fly else 'missing'}: {line}")
