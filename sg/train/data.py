"""Feeding a stage: encoded samples, collated batches, and a sampler that can go on in the middle of a stage.

A stage is one pass of Lightning's loop over a batch plan that is fixed before training, so the sampler only has to know
how many batches are done to resume with the same data order.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sg.core.errors import ConfigError
from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.text.conversation import EncodedDialog
from sg.models.chat_univi.text.special_ids import IGNORED_LABEL
from sg.train.batches import MicroBatch
from sg.train.samples import Clip, TrainingItem, noise_seed

if TYPE_CHECKING:
    from sg.models.chat_univi.text.conversation import DialogEncoder

log = logging.getLogger(__name__)

Batch = dict[str, Any]


class ClipReader(Protocol):
    """Gives what stands for a clip in a batch."""

    def frame_count(self, clip: Clip) -> int:
        """Frames sampled from the clip: how many placeholders its dialogs get."""

    def read(self, clip: Clip) -> Tensor:
        """Merged visual tokens [n, C], or pixel values [T, 3, H, W] where `is_cached` is False."""

    @property
    def is_cached(self) -> bool:
        """Whether `read` gives visual tokens."""
        ...


class SampleSet(Dataset[Sample]):
    """The items of a stage, cut to `max_length` ids when they are collated.

    All dialogs are encoded once for their sizes, and again when they are needed: the ids of a million dialogs would not
    fit beside the model in every process.

    Attributes:
        lengths: ids of every sample before its visual tokens are spliced in, int64 [samples].
        supervised: supervised tokens of every sample within `max_length` ids, int64 [samples].
    """

    def __init__(
        self, items: Sequence[TrainingItem], encoder: DialogEncoder, clips: ClipReader, max_length: int
    ) -> None:
        self.items, self.encoder, self.clips, self.max_length = items, encoder, clips, max_length
        self.lengths = np.zeros(len(items), dtype=np.int64)
        self.supervised = np.zeros(len(items), dtype=np.int64)
        problems: Counter[str] = Counter()
        for index, item in enumerate(items):
            dialog = self._encode(item)
            labels = dialog.labels[1:max_length]  # the first id is never predicted
            self.lengths[index] = len(dialog.input_ids)
            self.supervised[index] = len(labels) - labels.count(IGNORED_LABEL)
            problems.update([dialog.problem] if dialog.problem is not None else [])
        for problem, number in problems.items():
            log.warning("%d of %d dialogs teach nothing: %s", number, len(items), problem)

    def _encode(self, item: TrainingItem) -> EncodedDialog:
        frames = 0 if item.clip is None else self.clips.frame_count(item.clip)
        conversations = [{"from": turn.speaker, "value": turn.text} for turn in item.dialog.turns]
        return self.encoder.encode_dialog(conversations, frame_count=frames)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        dialog, clip = self._encode(self.items[index]), self.items[index].clip
        if clip is None:
            return Sample(dialog)
        seed = noise_seed(clip.key, self.clips.frame_count(clip))
        return Sample(dialog, [self.clips.read(clip)], self.clips.is_cached, [seed])


class PlannedBatches(Dataset[Batch]):
    """The micro-batches of a plan, collated; each also holds `share`, its part of the step's loss."""

    def __init__(self, samples: SampleSet, plan: Sequence[MicroBatch]) -> None:
        self.samples, self.plan = samples, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        micro = self.plan[index]
        chosen = [self.samples[int(sample)] for sample in micro.samples]
        return collate(chosen, self.samples.max_length) | {"share": micro.share}


class RemainingBatches(Sampler[int]):
    """Positions in the plan that are still to do, for this process of `world_size`; its length is the whole plan's."""

    def __init__(self, num_batches: int, rank: int = 0, world_size: int = 1, done: int = 0) -> None:
        self.mine = range(rank, num_batches, world_size)
        self.done = done

    def __len__(self) -> int:
        return len(self.mine)

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine[self.done :])


class StageData(LightningDataModule):
    """The data of one stage; knows after how many batches a resumed stage goes on.

    The plan holds the same number of micro-batches for every optimiser step, a multiple of the number of devices.
    """

    def __init__(self, samples: SampleSet, plan: Sequence[MicroBatch], workers: int = 0) -> None:
        super().__init__()
        self.samples, self.plan, self.workers = samples, plan, workers
        self.batches_done = 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches that are still to do."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = RemainingBatches(len(self.plan), rank, world_size, self.batches_done)
        batches = PlannedBatches(self.samples, self.plan)
        return DataLoader(batches, batch_size=None, sampler=sampler, num_workers=self.workers)

    def state_dict(self) -> dict[str, Any]:
        """Batches that this process has trained on: stages are saved between optimiser steps only."""
        assert self.trainer is not None
        accumulate = self.trainer.accumulate_grad_batches
        return {"batches_done": self.trainer.global_step * accumulate, "accumulate": accumulate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook on resume.

        Raises:
            ConfigError: the stage began with micro-batches of another size, or on other devices.
        """
        assert self.trainer is not None
        accumulate = self.trainer.accumulate_grad_batches
        if state_dict["accumulate"] != accumulate:
            raise ConfigError(
                f"The stage began with {state_dict['accumulate']} micro-batches a step on each device and would go on "
                f"with {accumulate}: take the trainer.devices and micro_batch_size that it began with, "
                f"or delete {self.trainer.default_root_dir} to begin anew."
            )
        self.batches_done = state_dict["batches_done"]
