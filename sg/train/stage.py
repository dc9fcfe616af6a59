"""Train one stage from its parent's checkpoint to its own; reuse a complete one, resume an interrupted one."""

from __future__ import annotations

import contextlib
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.checkpoint import LOSS_FILE, RESUME_FOLDER, StageInfo, read_stage_info, write_stage_info
from sg.artefacts.dialogs import dialogs_hash
from sg.core.errors import DataError
from sg.core.files import file_lock
from sg.core.fingerprints import text_seed
from sg.core.identity import Identity, identity, made_by
from sg.models.student import Student, StudentProcessor
from sg.train.config import StageConfig, TrainerConfig, micro_batches, num_steps
from sg.train.data.batches import MicroBatch, batch_plan, micro_batch_plan, sample_order
from sg.train.data.media import Media
from sg.train.data.samples import TrainingItem, clips_of
from sg.train.processes import ALONE, Team
from sg.train.resume import resume_from

if TYPE_CHECKING:
    import torch
    from pytorch_lightning import Callback, Trainer
    from torch import Tensor
    from transformers import PreTrainedModel

    from sg.train.callbacks import LossCurve
    from sg.train.data.clips import ClipReader
    from sg.train.data.loading import SampleSet
    from sg.train.data.stage_data import StageData
    from sg.train.module import StageModule
    from sg.train.score_curve import Asking

log = logging.getLogger(__name__)

SCORES_FILE = "scores.csv"

TRAINING_VERSION = 2
"""Raise it when the same settings, samples and starting point would give other weights.

The code that decides them: this file, `mixture.py`, `samples.py`, `batches.py`, `loading.py`, `stage_data.py`,
`schedule.py`, `module.py`, `strategy.py` and `adapters.py`. Students and their features have versions of their own.
"""


@dataclass(frozen=True, slots=True)
class StageJob:
    """Everything that decides a stage's weights, and the folder of its checkpoint.

    Attributes:
        items: the samples of one epoch.
        num_draws: samples seen over all epochs, repetitions included.
        identity: see `stage_identity`.
        parent: fingerprint of the stage that it starts from, None for the base model.
    """

    stage: StageConfig
    items: Sequence[TrainingItem]
    num_draws: int
    seed: int
    identity: Identity
    parent: str | None
    folder: Path

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name the stage."""
        return self.identity.name

    @property
    def steps(self) -> int:
        """Optimiser steps of the stage."""
        return num_steps(self.num_draws, self.stage.batch_size)


def checkpoint_of(job: StageJob | None) -> str | None:
    """The checkpoint of a stage; None for the student before its first one."""
    return None if job is None else str(job.folder)


def stage_identity(
    stage: StageConfig,
    trainer: TrainerConfig,
    items: Sequence[TrainingItem],
    media: Media,
    *,
    num_draws: int,
    seed: int,
    parent: Identity | None,
    base_model: Identity,
) -> Identity:
    """What decides the weights of a stage.

    Args:
        items: the samples that are really trained on, without those that are left out.
        media: content of the files of their clips.
        parent: the stage that it starts from; None for the base model.
        base_model: the model before its first stage, with its vision tower and tokenizer.
    """
    inputs = {
        stage.samples: dialogs_hash(item.dialog for item in items),
        "samples": len(items),
        "draws": num_draws,
        "media": media.of(clips_of(items)),
        "parent": parent,
        "base_model": base_model,
        "seed": seed,
    }
    if stage.has_adapters and not stage.merge_adapters:
        inputs["adapters"] = "apart"
    return identity("stage", settings={"stage": stage, "trainer": trainer}, inputs=inputs, version=TRAINING_VERSION)


def train_stage(
    job: StageJob,
    load_student: Callable[[], Student],
    processor: StudentProcessor,
    clips: ClipReader,
    trainer: TrainerConfig,
    report: Callable[[Mapping[str, float]], None],
    team: Team = ALONE,
    ask: Asking | None = None,
) -> tuple[StageInfo, bool]:
    """Train the stage unless its checkpoint exists; return what made the checkpoint, and whether it existed.

    If another run trains the same stage, this one waits for it. An interrupted stage resumes from its last Lightning
    checkpoint and ends in the same weights as an undisturbed one. With several devices every process of the `team`
    calls this function; the leading one holds the lock and writes.

    Args:
        ask: scores a sample of questions, for `trainer.evaluate_every`.

    Raises:
        DataError: the stage has no samples.
    """
    info = team.agreed(lambda: read_stage_info(job.folder, job.fingerprint))
    if info is not None:
        return info, True
    if not job.items:
        raise DataError(f"Stage {job.stage.name} has no samples: check the dialogs, captions and videos of the data.")
    log.info("stage %s: %d steps, %d samples", job.stage.name, job.steps, job.num_draws)
    with contextlib.ExitStack() as held:
        if team.leads:
            held.enter_context(file_lock(job.folder.with_suffix(".lock")))
        info = team.agreed(lambda: read_stage_info(job.folder, job.fingerprint))
        if info is not None:
            return info, True
        return _train(job, load_student, processor, clips, trainer, report, team, ask), False


def _train(
    job: StageJob,
    load_student: Callable[[], Student],
    processor: StudentProcessor,
    clips: ClipReader,
    config: TrainerConfig,
    report: Callable[[Mapping[str, float]], None],
    team: Team,
    ask: Asking | None,
) -> StageInfo:
    from sg.train.callbacks import read_losses
    from sg.train.data.loading import SampleSet
    from sg.train.data.stage_data import StageData
    from sg.train.module import StageModule
    from sg.train.outcome import check_outcome, trained_weights, weight_sums
    from sg.train.strategy import full_state

    job.folder.mkdir(parents=True, exist_ok=True)
    student, stage = load_student(), job.stage
    model, dtype = student.module, student.module.dtype
    samples = SampleSet(job.items, processor, clips, stage.max_length)
    samples.check(stage.name)
    accumulate = micro_batches(stage, config.world_size)[1]
    plan = _plan(job, samples, config)
    data = StageData(samples, plan, config.decode_workers if config.accelerator == "gpu" else 0)
    curve, callbacks = _curves(job, config, student, report, ask)
    trainer = _lightning_trainer(job, config, accumulate, callbacks)
    module = StageModule(student, stage, job.steps, job.seed, config)
    before = weight_sums(trained_weights(model), dtype) if team.leads else {}
    resumed = team.agreed(lambda: resume_from(job.folder, stage.name))
    _fit(trainer, module, data, resumed)
    state = full_state(model) if config.shards else None

    def finish() -> StageInfo:
        check_outcome(stage, trained_weights(model) if state is None else {n: state[n] for n in before}, before, dtype)
        whole = _without_adapters(job, student, load_student) if stage.has_adapters else model
        _save(whole, processor, job.folder, dtype, state)
        drawn = np.unique(np.concatenate([micro.samples for micro in plan]))
        info = _stage_info(job, trainer.global_step, samples, drawn, read_losses(job.folder / LOSS_FILE), curve.seconds)
        info = write_stage_info(job.folder, info)
        shutil.rmtree(job.folder / RESUME_FOLDER, ignore_errors=True)
        return info

    return team.agreed(finish)


def _curves(
    job: StageJob,
    config: TrainerConfig,
    student: Student,
    report: Callable[[Mapping[str, float]], None],
    ask: Asking | None,
) -> tuple[LossCurve, list[Callback]]:
    """The curve of the losses, and all callbacks that write one."""
    from sg.train.callbacks import LossCurve
    from sg.train.flops import device_peak_tflops
    from sg.train.score_curve import ScoreCurve
    from sg.train.workload import workload

    name, peak = job.stage.name, device_peak_tflops(config.accelerator, config.peak_tflops)
    curve = LossCurve(
        job.folder / LOSS_FILE, name, report, workload(student, job.stage),
        None if peak is None else peak * 1e12 * config.world_size,
    )  # fmt: skip
    if ask is None or config.evaluate_every is None:
        return curve, [curve]
    file = job.folder / SCORES_FILE
    return curve, [curve, ScoreCurve(file, name, config.evaluate_every, student, ask, report, curve.samples)]


def _without_adapters(job: StageJob, student: Student, load_student: Callable[[], Student]) -> PreTrainedModel:
    """The model with its adapters merged; or as it was, with its adapters in their own files."""
    from sg.models.kept_adapters import write_adapters
    from sg.train.adapters import adapter_factors, without_adapters

    stage = job.stage
    if not stage.merge_adapters:
        write_adapters(job.folder, adapter_factors(student.module), stage.lora.rank, stage.lora.alpha)
    return without_adapters(student, load_student, stage.merge_adapters)


def _fit(trainer: Trainer, module: StageModule, data: StageData, resumed: Path | None) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resumed)
    except SystemExit as end:  # Lightning turns Ctrl-C into SystemExit
        raise (end.__context__ if isinstance(end.__context__, KeyboardInterrupt) else end) from None


def _plan(job: StageJob, samples: SampleSet, config: TrainerConfig) -> list[MicroBatch]:
    """The micro-batches of the stage. The samples of an optimiser step do not depend on the devices."""
    stage = job.stage
    micro_batch, accumulate = micro_batches(stage, config.world_size)
    order = sample_order(len(samples), job.num_draws, text_seed("order", stage.name, job.seed))
    plan_seed = text_seed("batches", stage.name, job.seed)
    batches = batch_plan(order, samples.lengths, stage.batch_size, plan_seed, stage.group_by_length)
    return micro_batch_plan(
        batches, samples.supervised, micro_batch, stage.loss_samples, accumulate * config.world_size
    )  # fmt: skip


def _save(
    model: PreTrainedModel,
    processor: StudentProcessor,
    folder: Path,
    dtype: torch.dtype,
    state: dict[str, Tensor] | None,
) -> None:
    """Write the whole model in the type it was loaded in, and its tokenizer; `state` is that of a sharded model."""
    if state is None:
        model.to(dtype)  # type: ignore[arg-type]  # transformers' wrapper hides PyTorch's types
        model.save_pretrained(folder)
    else:
        model.save_pretrained(folder, state_dict={name: value.to(dtype) for name, value in state.items()})
    processor.save(folder)


def _stage_info(
    job: StageJob, steps: int, samples: SampleSet, drawn: NDArray[np.int64], losses: Sequence[float], seconds: float
) -> StageInfo:
    tail = losses[-max(1, len(losses) // 10) :]
    return StageInfo(
        stage=job.stage.name,
        fingerprint=job.fingerprint,
        parent=job.parent,
        steps=steps,
        samples=job.num_draws,
        distinct_samples=int((samples.supervised[drawn] > 0).sum()),
        cut_samples=samples.cut,
        unsupervised_samples=samples.unsupervised,
        final_loss=sum(tail) / len(tail) if tail else None,
        seconds=seconds,
        versions=library_versions(),
        **made_by(job.identity),
    )


def _lightning_trainer(job: StageJob, config: TrainerConfig, accumulate: int, callbacks: Sequence[Callback]) -> Trainer:
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import ModelCheckpoint

    from sg.train.callbacks import OwnSignals
    from sg.train.strategy import lightning_strategy

    # Hide Lightning's advice: a stage has no validation and few workers by design, and needs no `srun`.
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    saver = ModelCheckpoint(
        dirpath=job.folder / RESUME_FOLDER,
        filename="{step}",
        every_n_train_steps=config.checkpoint_every_steps,
        save_top_k=1,
        monitor="step",
        mode="max",
    )
    return Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=lightning_strategy(config),
        precision=config.precision,  # type: ignore[arg-type]  # a name from the config, checked by Lightning
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=job.stage.gradient_clip,
        callbacks=[saver, *callbacks, OwnSignals()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=job.folder,
    )


def library_versions() -> dict[str, str]:
    """The versions of the libraries that decide rounding."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "pytorch-lightning")}
