"""The data of a stage: encoded samples, collated batches, and a sampler that can resume in the middle of a stage.

A stage is one pass over a batch plan that is fixed before training. To resume with the same data order, the sampler
only has to know how many batches are done.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Dataset, Sampler

from sg.core.errors import DataError
from sg.models.student import IGNORED_LABEL, Batch, EncodedSample, StudentProcessor, TrainingSample
from sg.train.data.batches import MicroBatch
from sg.train.data.clips import ClipReader
from sg.train.data.samples import TrainingItem

log = logging.getLogger(__name__)


class SampleSet(Dataset[TrainingSample]):
    """The items of a stage, cut to `max_length` ids when they are collated.

    All dialogs are encoded once for their sizes, and again when a batch needs them: the ids of a million dialogs would
    not fit into memory beside the model, in every process.

    Attributes:
        lengths: number of ids of each sample, int64 [samples].
        supervised: number of supervised tokens of each sample within `max_length` ids, int64 [samples].
        cut: number of samples with more than `max_length` ids.
    """

    def __init__(
        self, items: Sequence[TrainingItem], processor: StudentProcessor, clips: ClipReader, max_length: int
    ) -> None:
        self.items, self.processor, self.clips, self.max_length = items, processor, clips, max_length
        self.lengths = np.zeros(len(items), dtype=np.int64)
        self.supervised = np.zeros(len(items), dtype=np.int64)
        self.cut = 0
        self._problems: Counter[str] = Counter()
        for index, item in enumerate(items):
            dialog = self._encode(item)
            labels = dialog.labels[1:max_length]  # the first id is never predicted
            self.lengths[index] = len(dialog.input_ids)
            self.supervised[index] = len(labels) - list(labels).count(IGNORED_LABEL)
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
        """Log what is cut and what is not supervised; DataError if no sample of the `stage` has a supervised token."""
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

    def _encode(self, item: TrainingItem) -> EncodedSample:
        facts = None if item.clip is None else self.clips.facts(item.clip)
        return self.processor.encode(item.dialog, facts, self.max_length)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> TrainingSample:
        dialog, clip = self._encode(self.items[index]), self.items[index].clip
        return TrainingSample(dialog, None if clip is None else self.clips.read(clip))


class PlannedBatches(Dataset[Batch]):
    """The micro-batches of a plan, collated; `share` is the weight of each in the step's loss."""

    def __init__(self, samples: SampleSet, plan: Sequence[MicroBatch]) -> None:
        self.samples, self.plan = samples, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        micro = self.plan[index]
        chosen = [self.samples[int(sample)] for sample in micro.samples]
        return self.samples.processor.collate(chosen, self.samples.max_length) | {"share": micro.share}


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
