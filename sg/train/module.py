"""One Lightning module for all three stages: a stage is a config."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.train.batches import learning_rate_factor
from sg.train.config import StageConfig
from sg.train.data import Batch

FROZEN_PREFIX = "model.vision_tower."


class StageModule(LightningModule):
    """Trains the parts of the model that `stage.trains` names; the vision tower is frozen in every stage."""

    strict_loading = False

    def __init__(self, model: ChatUniViForConditionalGeneration, stage: StageConfig, total_steps: int) -> None:
        super().__init__()
        self.model, self.stage, self.total_steps = model, stage, total_steps
        model.set_trainable("projector" in stage.trains, "language_model" in stage.trains)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Mean cross-entropy over the supervised tokens of the micro-batch, in nats."""
        loss: Tensor = self.model(**batch).loss
        self.log("loss", loss.detach(), prog_bar=False, logger=False, batch_size=len(batch["input_ids"]))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with linear warm-up and cosine to 0, as Chat-UniVi trains (spec `chat-univi.md` section 14)."""
        stage = self.stage
        optimizer = torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=stage.learning_rate,
            betas=(stage.beta1, stage.beta2),
            eps=1e-8,
            weight_decay=stage.weight_decay,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, self.total_steps, stage.warmup_fraction)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen tower out: it is in the stage's starting point."""
        state = checkpoint["state_dict"]
        for key in [key for key in state if key.startswith(FROZEN_PREFIX)]:
            del state[key]
