"""The data of a stage: encoded samples, collated batches, and a sampler that can resume in the middle of a stage.

A stage is one pass of Lightning's loop over a batch plan that is fixed before training. To resume with the same data
order, the sampler only has to know how many batches are done.
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

from sg.artefacts.dialogs import Dialog
from sg.core.errors import ConfigError, DataError
from sg.models.chat_univi.collate import Sample, collate
from sg.models.chat_univi.text.conversation import EncodedDialog
from sg.models.chat_univi.text.special_ids import IGNORED_LABEL
from sg.models.chat_univi.text.template import as_text, as_text_around_clip, count_placeholders
from sg.train.data.batches import MicroBatch
from sg.train.data.samples import Clip, TrainingItem, noise_seed

if TYPE_CHECKING:
    from sg.models.chat_univi.text.conversation import DialogEncoder

log = logging.getLogger(__name__)

Batch = dict[str, Any]


class ClipReader(Protocol):
    """Returns what represents a clip in a batch."""

    def frame_count(self, clip: Clip) -> int:
        """Number of frames sampled from the clip, which is the number of placeholders in its dialogs."""

    def read(self, clip: Clip) -> Tensor:
        """Merged visual tokens [n, C], or pixel values [T, 3, H, W] if `is_cached` is False."""

    @property
    def is_cached(self) -> bool:
        """True if `read` returns visual tokens."""
        ...


class SampleSet(Dataset[Sample]):
    """The items of a stage, cut to `max_length` ids when they are collated.

    All dialogs are encoded once for their sizes, and again when a batch needs them: the ids of a million dialogs would
    not fit into memory beside the model, in every process.

    Attributes:
        lengths: number of ids of each sample before its visual tokens are spliced in, int64 [samples].
        supervised: number of supervised tokens of each sample within `max_length` ids, int64 [samples].
        cut: number of samples with more than `max_length` ids.
    """

    def __init__(
        self, items: Sequence[TrainingItem], encoder: DialogEncoder, clips: ClipReader, max_length: int
    ) -> None:
        self.items, self.encoder, self.clips, self.max_length = items, encoder, clips, max_length
        self.lengths = np.zeros(len(items), dtype=np.int64)
        self.supervised = np.zeros(len(items), dtype=np.int64)
        self.cut = 0
        self._problems: Counter[str] = Counter()
        for index, item in enumerate(items):
            dialog = self._encode(item)
            labels = dialog.labels[1:max_length]  # the first id is never predicted
            self.lengths[index] = len(dialog.input_ids)
            self.supervised[index] = len(labels) - labels.count(IGNORED_LABEL)
            is_cut = dialog.num_cut > 0 or len(dialog.input_ids) > max_length
            self.cut += is_cut
            if not self.supervised[index]:
                reason = f"their first {max_length} ids hold no answer (max_length)" if is_cut else "no answer"
                self._problems[dialog.problem or reason] += 1

    @property
    def unsupervised(self) -> int:
        """Number of samples without a supervised token: they change no weight."""
        return self._problems.total()

    def check(self, stage: str) -> None:
        """Log what is cut and what is not supervised.

        Raises:
            DataError: no sample of the `stage` has a supervised token.
        """
        total = len(self.items)
        if self.cut:
            log.warning(
                "stage %s: %d of %d samples are cut to max_length=%d ids", stage, self.cut, total, self.max_length
            )
        for problem, number in self._problems.items():
            log.warning("stage %s: %d of %d samples have no supervised token: %s", stage, number, total, problem)
        if self.unsupervised == total:
            reasons = "; ".join(f"{number} of {total} samples: {why}" for why, number in self._problems.most_common())
            raise DataError(
                f"Stage {stage} would train nothing, because no token is supervised ({reasons}): check the answers "
                f"and stage.{stage}.max_length={self.max_length}."
            )

    def _encode(self, item: TrainingItem) -> EncodedDialog:
        frames = 0 if item.clip is None else self.clips.frame_count(item.clip)
        conversations = encoded_turns(item.dialog)
        return self.encoder.encode_dialog(conversations, frames, self.max_length)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        dialog, clip = self._encode(self.items[index]), self.items[index].clip
        if clip is None:
            return Sample(dialog)
        seed = noise_seed(clip.key, self.clips.frame_count(clip))
        return Sample(dialog, [self.clips.read(clip)], self.clips.is_cached, [seed])


def encoded_turns(dialog: Dialog) -> list[dict[str, str]]:
    """The messages of `dialog` for an encoder: the placeholder of its clip is a control token, all else is text."""
    turns: list[dict[str, str]] = []
    has_place = dialog.media is None
    for turn in dialog.turns:
        is_place = not has_place and turn.speaker == "human" and count_placeholders(turn.text) > 0
        has_place = has_place or is_place
        text = as_text_around_clip(turn.text) if is_place else as_text(turn.text)
        turns.append({"from": turn.speaker, "value": text})
    return turns


class PlannedBatches(Dataset[Batch]):
    """The micro-batches of a plan, collated; `share` is the weight of each in the step's loss."""

    def __init__(self, samples: SampleSet, plan: Sequence[MicroBatch]) -> None:
        self.samples, self.plan = samples, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        micro = self.plan[index]
        chosen = [self.samples[int(sample)] for sample in micro.samples]
        return collate(chosen, self.samples.max_length) | {"share": micro.share}


class RemainingBatches(Sampler[int]):
    """The remaining positions of the plan for this process of `world_size`.

    Its length is that of the whole plan, because Lightning counts the batches of a resumed pass from its beginning.
    """

    def __init__(self, num_batches: int, rank: int = 0, world_size: int = 1, done: int = 0) -> None:
        self.mine = range(rank, num_batches, world_size)
        self.done = done

    def __len__(self) -> int:
        return len(self.mine)

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine[self.done :])


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
        """Lightning's hook on resume.

        Raises:
            ConfigError: the stage was started with another micro-batch size or number of devices.
        """
        assert self.trainer is not None
        accumulate = self.trainer.accumulate_grad_batches
        if state_dict["accumulate"] != accumulate:
            raise ConfigError(
                f"The stage was started with {state_dict['accumulate']} micro-batches per step and device and would "
                f"resume with {accumulate}: use the trainer.devices and micro_batch_size that it was started with, "
                f"or delete {self.trainer.default_root_dir} to start again."
            )
        self.batches_done = state_dict["batches_done"]
