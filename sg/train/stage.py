"""Train one stage from its parent's checkpoint to its own; reuse a complete one, resume one that was cut off."""

from __future__ import annotations

import contextlib
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
from sg.train.batches import MicroBatch, batch_plan, micro_batch_plan, sample_order
from sg.train.config import StageConfig, TrainerConfig, micro_batches, num_steps
from sg.train.processes import ALONE, Team
from sg.train.samples import TrainingItem

if TYPE_CHECKING:
    import torch
    from pytorch_lightning import Trainer
    from torch import Tensor

    from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
    from sg.models.chat_univi.text.conversation import DialogEncoder
    from sg.train.callbacks import LossCurve
    from sg.train.data import ClipReader, SampleSet

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
    team: Team = ALONE,
) -> tuple[StageInfo, bool]:
    """What made the stage's checkpoint, and whether it was there already.

    Another run that trains the same stage is waited for. A stage that was cut off goes on from its last Lightning
    checkpoint and ends in the same weights as an undisturbed one. With several devices every process of the `team`
    calls this; the leading one holds the lock and writes.

    Raises:
        DataError: the stage has no samples.
    """
    info = team.agreed(lambda: read_stage_info(job.folder))
    if info is not None:
        return info, True
    if not job.items:
        raise DataError(f"Stage {job.stage.name} has no samples: check the dialogs, captions and films of the data.")
    log.info("stage %s: %d steps, %d samples", job.stage.name, job.steps, job.num_draws)
    with contextlib.ExitStack() as held:
        if team.leads:
            held.enter_context(file_lock(job.folder.with_suffix(".lock")))
        info = team.agreed(lambda: read_stage_info(job.folder))
        if info is not None:
            return info, True
        return _train(job, load_model, encoder, clips, trainer, report, team), False


def _train(
    job: StageJob,
    load_model: Callable[[], ChatUniViForConditionalGeneration],
    encoder: DialogEncoder,
    clips: ClipReader,
    config: TrainerConfig,
    report: Callable[[Mapping[str, float]], None],
    team: Team,
) -> StageInfo:
    from sg.train.adapters import merge_adapters
    from sg.train.callbacks import LossCurve, read_losses
    from sg.train.data import SampleSet, StageData
    from sg.train.flops import device_peak_tflops
    from sg.train.module import StageModule
    from sg.train.strategy import full_state
    from sg.train.workload import workload

    job.folder.mkdir(parents=True, exist_ok=True)
    model, stage = load_model(), job.stage
    dtype = model.dtype
    samples = SampleSet(job.items, encoder, clips, stage.max_length)
    accumulate = micro_batches(stage, config.devices)[1]
    data = StageData(samples, _plan(job, samples, config), config.decode_workers if config.accelerator == "gpu" else 0)
    peak = device_peak_tflops(config.accelerator, config.peak_tflops)
    curve = LossCurve(
        job.folder / LOSS_FILE, stage.name, report, workload(model.config, stage),
        None if peak is None else peak * 1e12 * config.devices,
    )  # fmt: skip
    trainer = _lightning_trainer(job, config, accumulate, curve)
    module = StageModule(model, stage, job.steps, job.seed, config)
    trainer.fit(module, datamodule=data, ckpt_path=team.agreed(lambda: _resume_from(job)))
    if trainer.interrupted:
        raise KeyboardInterrupt
    state = full_state(model) if config.shards else None
    info = None
    if team.leads:
        if stage.has_adapters:
            model = merge_adapters(model, load_model)
        _save(model, encoder, job.folder, dtype, state)
        losses = read_losses(job.folder / LOSS_FILE)
        info = _stage_info(job, trainer.global_step, len(samples), losses, curve.seconds)
        write_stage_info(job.folder, info)
        shutil.rmtree(job.folder / RESUME_FOLDER, ignore_errors=True)
    done = team.agreed(lambda: info)
    assert done is not None
    return done


def _plan(job: StageJob, samples: SampleSet, config: TrainerConfig) -> list[MicroBatch]:
    """The micro-batches of the stage; what an optimiser step learns from does not depend on the devices."""
    stage = job.stage
    micro_batch, accumulate = micro_batches(stage, config.devices)
    order = sample_order(len(samples), job.num_draws, text_seed("order", stage.name, job.seed))
    plan_seed = text_seed("batches", stage.name, job.seed)
    batches = batch_plan(order, samples.lengths, stage.batch_size, plan_seed, stage.group_by_length)
    return micro_batch_plan(
        batches, samples.supervised, micro_batch, stage.loss_samples, accumulate * config.devices
    )  # fmt: skip


def _save(
    model: ChatUniViForConditionalGeneration,
    encoder: DialogEncoder,
    folder: Path,
    dtype: torch.dtype,
    state: dict[str, Tensor] | None,
) -> None:
    """Write the whole model in the type it was loaded in, and its tokenizer; `state` is that of a sharded one."""
    if state is None:
        model.to(dtype)  # type: ignore[arg-type]  # transformers' wrapper hides PyTorch's types
        model.save_pretrained(folder)
    else:
        model.save_pretrained(folder, state_dict={name: value.to(dtype) for name, value in state.items()})
    encoder.save_tokenizer(folder)


def _stage_info(job: StageJob, steps: int, num_samples: int, losses: Sequence[float], seconds: float) -> StageInfo:
    tail = losses[-max(1, len(losses) // 10) :]
    return StageInfo(
        stage=job.stage.name,
        fingerprint=job.fingerprint,
        parent=job.parent,
        steps=steps,
        samples=job.num_draws,
        distinct_samples=min(job.num_draws, num_samples),
        final_loss=sum(tail) / len(tail) if tail else None,
        seconds=seconds,
        settings=job.settings,
        versions=_versions(),
    )


def _lightning_trainer(job: StageJob, config: TrainerConfig, accumulate: int, curve: LossCurve) -> Trainer:
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import ModelCheckpoint

    from sg.train.strategy import lightning_strategy

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
        strategy=lightning_strategy(config),
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
