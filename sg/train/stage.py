"""Train one stage from its parent's checkpoint to its own; reuse a complete one, resume one that was cut off."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.checkpoint import LOSS_FILE, RESUME_FOLDER, StageInfo, read_stage_info, write_stage_info
from sg.core.errors import DataError
from sg.core.files import file_lock
from sg.core.fingerprints import text_seed
from sg.train.batches import batch_plan, learning_rate_factor, sample_order
from sg.train.config import StageConfig, TrainerConfig, micro_batches, num_steps
from sg.train.samples import TrainingItem

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from sg.models.chat_univi.conversation import DialogEncoder
    from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
    from sg.train.callbacks import LossCurve
    from sg.train.data import ClipReader

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageJob:
    """Everything that decides a stage's weights, and the folder of its checkpoint.

    Attributes:
        num_draws: samples seen, repetitions counted.
        settings: the plain values that `fingerprint` hashes, kept in the checkpoint.
        parent: fingerprint of the stage it starts from, None for the base model.
    """

    stage: StageConfig
    items: Sequence[TrainingItem]
    num_draws: int
    seed: int
    fingerprint: str
    parent: str | None
    folder: Path
    settings: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """Optimiser steps of the stage."""
        return num_steps(self.num_draws, self.stage.batch_size)


def train_stage(
    job: StageJob,
    load_model: Callable[[], ChatUniViForConditionalGeneration],
    encoder: DialogEncoder,
    clips: ClipReader,
    trainer: TrainerConfig,
    report: Callable[[Mapping[str, float]], None],
) -> tuple[StageInfo, bool]:
    """What made the stage's checkpoint, and whether it was there already.

    Another process that trains the same stage is waited for. A stage that was cut off goes on from its last Lightning
    checkpoint and ends in the same weights as an undisturbed one.

    Raises:
        DataError: the stage has no samples.
    """
    info = read_stage_info(job.folder)
    if info is not None:
        return info, True
    if not job.items:
        raise DataError(f"Stage {job.stage.name} has no samples: check the dialogs, captions and films of the data.")
    log.info("stage %s: %d steps, %d samples", job.stage.name, job.steps, job.num_draws)
    with file_lock(job.folder.with_suffix(".lock")):
        info = read_stage_info(job.folder)
        if info is not None:
            return info, True
        return _train(job, load_model(), encoder, clips, trainer, report), False


def _train(
    job: StageJob,
    model: ChatUniViForConditionalGeneration,
    encoder: DialogEncoder,
    clips: ClipReader,
    trainer_config: TrainerConfig,
    report: Callable[[Mapping[str, float]], None],
) -> StageInfo:
    from sg.train.callbacks import LossCurve, read_losses
    from sg.train.data import SampleSet, StageData
    from sg.train.module import StageModule

    job.folder.mkdir(parents=True, exist_ok=True)
    micro_batch, accumulate = micro_batches(job.stage, trainer_config.devices)
    samples = SampleSet(job.items, encoder, clips, job.stage.max_length)
    order = sample_order(len(samples), job.num_draws, text_seed("order", job.stage.name, job.seed))
    plan_seed = text_seed("batches", job.stage.name, job.seed)
    plan = batch_plan(order, samples.lengths, micro_batch, plan_seed, job.stage.group_by_length)
    data = StageData(samples, plan)
    stage = job.stage

    def rate_at(step: int) -> float:
        return stage.learning_rate * learning_rate_factor(step, job.steps, stage.warmup_fraction)

    curve = LossCurve(job.folder / LOSS_FILE, stage.name, rate_at, report)
    trainer = _lightning_trainer(job, trainer_config, accumulate, curve)
    trainer.fit(StageModule(model, job.stage, job.steps), datamodule=data, ckpt_path=_resume_from(job))
    if trainer.interrupted:
        raise KeyboardInterrupt
    losses = read_losses(job.folder / LOSS_FILE)
    tail = losses[-max(1, len(losses) // 10) :]
    info = StageInfo(
        stage=job.stage.name,
        fingerprint=job.fingerprint,
        parent=job.parent,
        steps=trainer.global_step,
        samples=job.num_draws,
        distinct_samples=min(job.num_draws, len(samples)),
        final_loss=sum(tail) / len(tail) if tail else None,
        seconds=curve.seconds,
        settings=job.settings,
        versions=_versions(),
    )
    if trainer.is_global_zero:
        model.save_pretrained(job.folder)
        write_stage_info(job.folder, info)
        shutil.rmtree(job.folder / RESUME_FOLDER, ignore_errors=True)
    return info


def _lightning_trainer(job: StageJob, config: TrainerConfig, accumulate: int, curve: LossCurve) -> Trainer:
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import ModelCheckpoint

    # A stage has no validation and few workers by design; Lightning's advice on both is noise in a user's terminal.
    warnings.filterwarnings("ignore", module="pytorch_lightning")
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
        strategy=config.strategy,
        precision=config.precision,  # type: ignore[arg-type]  # a name from the config, checked by Lightning
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=job.stage.gradient_clip,
        callbacks=[saver, curve],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=job.folder,
    )


def _resume_from(job: StageJob) -> Path | None:
    saved = sorted((job.folder / RESUME_FOLDER).glob("step=*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    if saved:
        log.info("stage %s: goes on from %s", job.stage.name, saved[-1].stem)
    return saved[-1] if saved else None


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "pytorch-lightning")}
