"""The data of a stage for Lightning's loop. Importing it imports Lightning, which takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from sg.models.student import Batch
from sg.train.data.batches import MicroBatch
from sg.train.data.loading import PlannedBatches, RemainingBatches, SampleSet


class StageData(LightningDataModule):
    """The data of one stage, with the number of batches after which a resumed stage continues.

    The plan holds the same number of micro-batches for every optimiser step, a multiple of the number of devices.
    """

    def __init__(self, samples: SampleSet, plan: Sequence[MicroBatch], workers: int = 0) -> None:
        super().__init__()
        self.samples, self.plan, self.workers = samples, plan, workers
        self.batches_done = 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """The remaining batches."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = RemainingBatches(len(self.plan), rank, world_size, self.batches_done)
        batches = PlannedBatches(self.samples, self.plan)
        return DataLoader(batches, batch_size=None, sampler=sampler, num_workers=self.workers)

    def state_dict(self) -> dict[str, Any]:
        """Number of batches that this process has trained on. Stages are saved between optimiser steps only."""
        assert self.trainer is not None
        accumulate = self.trainer.accumulate_grad_batches
        return {"batches_done": self.trainer.global_step * accumulate, "accumulate": accumulate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook on resume. Optimiser steps count: other devices take other numbers of batches per step."""
        assert self.trainer is not None
        steps = state_dict["batches_done"] // state_dict["accumulate"]
        self.batches_done = steps * self.trainer.accumulate_grad_batches
