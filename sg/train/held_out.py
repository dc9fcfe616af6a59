"""The loss of a model on samples that it was not trained on."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.core.progress import Progress
from sg.models.student import Student, StudentProcessor
from sg.train.data.clips import ClipReader
from sg.train.data.loading import SampleSet
from sg.train.data.samples import TrainingItem


@torch.no_grad()
def sample_losses(
    student: Student, items: Sequence[TrainingItem], processor: StudentProcessor, clips: ClipReader, max_length: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(sum of the cross-entropy in nats [n], number of supervised tokens [n]) of every item.

    The samples are computed one by one, so that no loss depends on the other samples of a batch.
    """
    samples = SampleSet(items, processor, clips, max_length)
    nats = np.zeros(len(items))
    device = next(student.module.parameters()).device
    student.module.eval()  # type: ignore[no-untyped-call]  # transformers'
    with Progress("held-out captions", len(items), "captions") as bar:
        for index in range(len(items)):
            batch = processor.collate([samples[index]], max_length)
            on_device = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}
            loss, count = student.loss(on_device)
            nats[index] = float(loss) * int(count)
            bar.advance(1)
    return nats, samples.supervised
