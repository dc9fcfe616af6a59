"""Feeding a stage: encoded samples, collated batches, and a sampler that can go on in the middle of a stage.

A stage is one pass of Lightning's loop over a batch plan that is fixed before training, so the sampler only has to know
how many batches are done to resume with the same data order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sg.train.samples import Clip, TrainingItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sg.models.chat_univi.conversation import DialogEncoder

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


@dataclass(frozen=True, slots=True)
class Sample:
    """Ids [L] and labels [L] of one dialog, int64, and the clip it is about."""

    input_ids: Tensor
    labels: Tensor
    clip: Clip | None


class SampleSet(Dataset[Sample]):
    """The encoded samples of a stage."""

    def __init__(self, items: Sequence[TrainingItem], encoder: DialogEncoder, clips: ClipReader, max_length: int) -> None:
        self.samples = [_encoded(item, encoder, clips, max_length) for item in items]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Ids of every sample, int64 [samples]."""
        import numpy as np

        return np.array([len(sample.input_ids) for sample in self.samples], dtype=np.int64)


def _encoded(item: TrainingItem, encoder: DialogEncoder, clips: ClipReader, max_length: int) -> Sample:
    frames = 0 if item.clip is None else clips.frame_count(item.clip)
    conversations = [{"from": turn.speaker, "value": turn.text} for turn in item.dialog.turns]
    encoded = encoder.encode_dialog(conversations, frame_count=frames)
    ids = torch.as_tensor(encoded.input_ids, dtype=torch.long)[:max_length]
    labels = torch.as_tensor(encoded.labels, dtype=torch.long)[:max_length]
    return Sample(ids, labels, item.clip)


class Collate:
    """Makes a batch of samples: right-padded ids and labels, and the clips' visual tokens or frames in sample order."""

    def __init__(self, clips: ClipReader, pad_id: int, ignored_label: int) -> None:
        self.clips, self.pad_id, self.ignored_label = clips, pad_id, ignored_label

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad([sample.input_ids for sample in samples], batch_first=True, padding_value=self.pad_id)
        labels = pad([sample.labels for sample in samples], batch_first=True, padding_value=self.ignored_label)
        lengths = torch.tensor([len(sample.input_ids) for sample in samples])
        batch: Batch = {
            "input_ids": ids,
            "labels": labels,
            "attention_mask": torch.arange(ids.shape[1])[None] < lengths[:, None],
        }
        read = [self.clips.read(sample.clip) for sample in samples if sample.clip is not None]
        if read:
            values, counts = ("visual_tokens", "visual_counts") if self.clips.is_cached else ("frames", "frame_counts")
            batch |= {values: torch.cat(read), counts: [len(clip) for clip in read]}
        return batch


class PlannedBatches(Sampler[list[int]]):
    """The batches of a plan that are still to do, for this process of `world_size`; its length is that of the whole plan.

    The plan is cut to a multiple of `world_size` by repeating its first batches, so that every process takes part in
    every step.
    """

    def __init__(self, plan: Sequence[NDArray[np.int64]], rank: int = 0, world_size: int = 1) -> None:
        missing = -len(plan) % world_size
        self.plan = [*plan, *plan[:missing]][rank::world_size]
        self.done = 0

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.plan[self.done :]:
            yield batch.tolist()


class StageData(LightningDataModule):
    """The data of one stage; knows after how many batches a resumed stage goes on."""

    def __init__(self, samples: SampleSet, plan: Sequence[NDArray[np.int64]], collate: Callable[..., Batch]) -> None:
        super().__init__()
        self.samples, self.plan, self.collate = samples, plan, collate
        self.batches_done = 0

    def train_dataloader(self) -> DataLoader[Sample]:
        """The batches that are still to do."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = PlannedBatches(self.plan, rank, world_size)
        sampler.done = self.batches_done
        return DataLoader(self.samples, batch_sampler=sampler, collate_fn=self.collate, num_workers=0)

    def state_dict(self) -> dict[str, Any]:
        """Batches that this process has trained on: stages are saved between optimiser steps only."""
        assert self.trainer is not None
        return {"batches_done": self.trainer.global_step * self.trainer.accumulate_grad_batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook on resume."""
        self.batches_done = state_dict["batches_done"]
