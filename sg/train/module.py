"""The Lightning module of all stages: a stage is a config."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from sg.core.errors import ModelError
from sg.core.fingerprints import text_seed
from sg.models.student import Batch, Student, part_of
from sg.train.adapters import add_adapters, is_adapter, leave_types_to_autocast
from sg.train.config import StageConfig, TrainerConfig
from sg.train.schedule import learning_rate_factor


class StageNetwork(nn.Module):
    """The model with its loss: the part that is wrapped for several devices."""

    def __init__(self, student: Student, packed: bool) -> None:
        super().__init__()
        self.student, self.model, self.packed = student, student.module, packed

    def forward(self, batch: Batch) -> Tensor:
        """Mean cross-entropy over the supervised tokens of the micro-batch, in nats."""
        return self.student.loss(batch, self.packed)[0]


class StageModule(LightningModule):
    """Trains the parts of the model that `stage.trains` names."""

    strict_loading = False

    def __init__(
        self,
        student: Student,
        stage: StageConfig,
        total_steps: int,
        seed: int = 0,
        machine: TrainerConfig | None = None,
    ) -> None:
        super().__init__()
        self.stage, self.total_steps, self.seed = stage, total_steps, seed
        self.machine = machine or TrainerConfig()
        model = student.module
        if stage.has_adapters:
            add_adapters(student, stage, text_seed("adapters", stage.name, seed))
        set_trainable(student, stage)
        if self.machine.precision.endswith("-mixed"):
            _keep_trained_weights_in_float32(model)
            if stage.has_adapters:
                leave_types_to_autocast(model)
        student.prepare_training(self.machine.packed)
        if self.machine.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model.train()
        self.network = StageNetwork(student, self.machine.packed)
        self._is_sharded = False

    def configure_model(self) -> None:
        """Lightning's hook: shard the weights over the devices if the strategy is `fsdp`."""
        if self.machine.shards and not self._is_sharded:
            from sg.train.strategy import devices_of, shard

            shard(
                self.network, self.network.student, devices_of(self.machine, self.device.type), self.machine.precision
            )
            self._is_sharded = True

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The micro-batch's part of the step's loss.

        Lightning divides it by the accumulated passes, and the strategy averages gradients over devices. Both are
        undone here, because `share` already weights the parts so that they add up to the loss of the step.
        """
        inputs = {key: value for key, value in batch.items() if key != "share"}
        if self.stage.has_adapters:  # Dropout depends only on the place in the plan, so a resumed stage repeats it.
            place = self.global_step, batch_index % self.trainer.accumulate_grad_batches, self.global_rank
            torch.manual_seed(text_seed("dropout", self.stage.name, self.seed, *place))
        loss: Tensor = self.network(inputs)
        share = loss.detach() * batch["share"]
        self.log("loss", share, prog_bar=False, logger=False, batch_size=len(batch["input_ids"]))
        divided_by = self.trainer.accumulate_grad_batches * self.trainer.world_size
        scaled: Tensor = loss * (batch["share"] * divided_by)
        return scaled

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with the rates of `stage.schedule` (`docs/reference/chat_univi.md`, section 14)."""
        stage = self.stage
        learning = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        adapters = [value for name, value in learning.items() if is_adapter(name)]
        whole = [value for name, value in learning.items() if not is_adapter(name)]
        groups: list[dict[str, Any]] = [{"params": whole}, {"params": adapters, "lr": stage.lora.learning_rate}]
        on_gpu = all(value.is_cuda for value in learning.values())
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=stage.learning_rate,
            betas=(stage.beta1, stage.beta2),
            eps=1e-8,
            weight_decay=stage.weight_decay,
            fused=True if on_gpu else None,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(stage.schedule, step, self.total_steps, stage.warmup_fraction)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of all gradients together. Lightning's own implementation refuses the fused optimiser."""
        if gradient_clip_val:
            values = [value for group in optimizer.param_groups for value in group["params"]]
            nn.utils.clip_grad_norm_(values, gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the trained weights only: the others are in the model that the stage starts from."""
        learning, state = self._trained, checkpoint["state_dict"]
        for key in [key for key in state if key not in learning]:
            del state[key]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint without all trained weights. Loading is not strict, so nothing else would notice.

        Another number of devices, or of samples per micro-batch, continues at the same optimiser step.

        Raises:
            ModelError: another version of this code started the stage.
        """
        if not self._trained <= checkpoint["state_dict"].keys():
            raise ModelError(
                f"The stage {self.stage.name} was interrupted under another version of this code and cannot resume: "
                f"delete {self.trainer.default_root_dir} to start it again."
            )

        _count_batches(checkpoint, self.trainer.accumulate_grad_batches)

    @property
    def _trained(self) -> set[str]:
        return {name for name, value in self.named_parameters() if value.requires_grad}


def _count_batches(checkpoint: dict[str, Any], accumulate: int) -> None:
    """Let Lightning's counts of batches be those of as many optimiser steps with `accumulate` batches each."""
    counts = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    steps = checkpoint["global_step"]
    for scope in ("current", "total"):
        more = steps * accumulate - counts[scope]["ready"]
        for name in counts[scope]:
            counts[scope][name] += more


def set_trainable(student: Student, stage: StageConfig) -> None:
    """Mark the weights of the trained parts, or their adapters, and no others.

    Raises:
        ModelError: the model has no weights in one of the parts.
    """
    known = {part_of(student.parts, name) for name, _ in student.module.named_parameters()}
    for part in stage.trains:
        if part not in known:
            raise ModelError(f"stage.{stage.name}.trains names {part}, but the model has no weights in this part.")
    for name, value in student.module.named_parameters():
        value.requires_grad_(is_adapter(name) or part_of(student.parts, name) in stage.trains_whole)


def _keep_trained_weights_in_float32(model: nn.Module) -> None:
    """In bfloat16, updates that are small against their weight would be rounded to nothing."""
    for value in model.parameters():
        if value.requires_grad:
            value.data = value.data.float()
