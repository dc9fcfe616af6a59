"""The loss of a model on samples that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.core.progress import Progress
from sg.models.chat_univi.collate import collate
from sg.train.data.loading import ClipReader, SampleSet
from sg.train.data.samples import TrainingItem

if TYPE_CHECKING:
    from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
    from sg.models.chat_univi.text.conversation import DialogEncoder


@torch.no_grad()
def sample_losses(
    model: ChatUniViForConditionalGeneration,
    items: Sequence[TrainingItem],
    encoder: DialogEncoder,
    clips: ClipReader,
    max_length: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(sum of the cross-entropy in nats [n], number of supervised tokens [n]) of every item.

    The samples are computed one by one, so that no loss depends on the other samples of a batch.
    """
    samples = SampleSet(items, encoder, clips, max_length)
    nats = np.zeros(len(items))
    device = next(model.parameters()).device
    model.eval()  # type: ignore[no-untyped-call]
    with Progress("held-out captions", len(items), "captions") as bar:
        for index in range(len(items)):
            batch = collate([samples[index]], max_length)
            on_device = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}
            output = model(**on_device)
            nats[index] = float(output.loss) * int(output.num_supervised)
            bar.advance(1)
    return nats, samples.supervised
