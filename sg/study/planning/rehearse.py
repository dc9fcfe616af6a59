"""`rehearse=true`: the stages of a run are tried without weights, data and devices, and what they need is printed."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from sg.core.errors import SgError
from sg.core.output import show
from sg.models.student import STUDENTS
from sg.study.config import TrainConfig
from sg.train.config import StageConfig, TrainerConfig

if TYPE_CHECKING:
    from sg.train.rehearsal.stage import Rehearsal

REHEARSAL_SCHEMA = 1
KINDS = ("weights", "gradients", "optimiser", "activations")


def print_rehearsal(config: TrainConfig) -> None:
    """Rehearse every stage of the run on `trainer.nodes` x `trainer.devices` devices, and print what one of them needs.

    Raises:
        MissingInputError: the config of the model is not on this machine, and it is not known by name.
    """
    from sg.study.planning.memory import stage_memory

    trainer = config.trainer
    size, rows = STUDENTS.of(config.model).describe(config.model), []
    for stage, found in zip(config.stage.stages, _rehearsals(config), strict=True):
        planned = None if size is None else stage_memory(trainer, size, stage)
        rows.append(
            {
                "stage": stage.name,
                "memory_bytes": dict(found.memory),
                "peak_bytes": found.peak,
                "planned_bytes": planned,
                "flops": found.flops,
                "formula_flops": found.formula_flops,
                "traffic_bytes": dict(found.traffic),
                "trained_weights": found.trained,
            }
        )
    record = {"model": config.model.name, "nodes": trainer.nodes, "devices": trainer.devices, "stages": rows}
    show("rehearsal", REHEARSAL_SCHEMA, record, lambda: _text(record), config.format)


def _rehearsals(config: TrainConfig) -> list[Rehearsal]:
    """One rehearsal per stage, in a process each as far as there are cores: one takes a core for a minute or more."""
    stages = config.stage.stages
    workers = min(len(stages), os.cpu_count() or 1)
    models, trainers = [config.model] * len(stages), [config.trainer] * len(stages)
    if workers == 1:
        return list(map(_rehearsal, models, trainers, stages))
    # Spawned, not forked: a fork copies the locks that threads of libraries hold at that moment, and may block.
    context = multiprocessing.get_context("spawn")
    # The processes ignore Ctrl-C, and are killed instead: a stage would be rehearsed to its end.
    with ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            return list(pool.map(_rehearsal, models, trainers, stages))
        except BrokenProcessPool as error:
            raise SgError(
                "A process of the rehearsal was ended from outside, perhaps for want of memory: run the command again."
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _rehearsal(model: Any, trainer: TrainerConfig, stage: StageConfig) -> Rehearsal:
    from sg.train.rehearsal.stage import rehearse_stage

    return rehearse_stage(stage, trainer, lambda: STUDENTS.of(model).blank(model))


def _text(record: Mapping[str, Any]) -> str:
    from rich.console import Console
    from rich.table import Table

    from sg.train.data.visual_tokens import readable_size

    where = f"{record['nodes']} x {record['devices']} devices"
    table = Table(
        "stage", *KINDS, "peak per device", "plan", "FLOPs counted", "by formula", "received",
        title=f"Rehearsal of {record['model']} on {where}: one micro-batch per device",
    )  # fmt: skip
    for row in record["stages"]:
        planned = "?" if row["planned_bytes"] is None else readable_size(row["planned_bytes"])
        table.add_row(
            row["stage"],
            *(readable_size(row["memory_bytes"][kind]) for kind in KINDS),
            readable_size(row["peak_bytes"]),
            planned,
            f"{row['flops']:.2e}",
            f"{row['formula_flops']:.2e}",
            readable_size(sum(row["traffic_bytes"].values())),
        )
    stream = io.StringIO()
    Console(width=140, soft_wrap=True, file=stream).print(table)
    return stream.getvalue() + (
        "Peak: the largest usual sample of the stage in every place of a micro-batch, with features from the cache. "
        "The CUDA context and the allocator take 1 to 2 GB more. Counted FLOPs include what gradient checkpointing "
        "repeats."
    )
