"""A micro-batch as one row without padding, whose samples never attend to one another.

Every sample keeps its own positions 0, 1, 2, ... and is cut before its last supervised token, because no later position
can change the loss. Samples without supervised tokens are left out. Loss and gradients are those of the padded batch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sg.models.chat_univi.fast.last_layer import can_skip_positions, hidden_at
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.splice import Spliced
from sg.models.packed_attention import Segments, use_packed_attention
from sg.models.student import IGNORED_LABEL


def let_pack(model: ChatUniViForConditionalGeneration) -> None:
    """Use packed attention where the layers are known ones.

    Other architectures keep their own attention. For these, transformers builds the mask of separate samples from the
    positions, which start again at 0 with each sample.
    """
    if can_skip_positions(model.model):
        use_packed_attention(model.model)


def packed_loss(model: ChatUniViForConditionalGeneration, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy over the supervised tokens, their number), as of the padded batch, from one packed row."""
    spliced = model.prepare_inputs(**batch)
    lengths = _lengths(spliced)
    kept = torch.arange(spliced.embeds.shape[1], device=lengths.device) < lengths[:, None]
    if not bool(kept.any()) or bool((kept & ~spliced.attention_mask).any()):
        # Rare cases: nothing is supervised, or a position inside a sample is masked (an unknown character has the id of
        # the padding). The padded batch handles both.
        output = model(**batch)
        return output.loss, output.num_supervised
    assert spliced.labels is not None
    targets = F.pad(spliced.labels[:, 1:], (0, 1), value=IGNORED_LABEL)[kept]
    supervised = targets != IGNORED_LABEL
    positions = torch.arange(kept.shape[1], device=kept.device).expand_as(kept)[kept][None]
    embeds = spliced.embeds[kept][None]
    if can_skip_positions(model.model):
        segments = Segments.of([length for length in lengths.tolist() if length], embeds.device)
        hidden = hidden_at(model.model, embeds, positions, supervised[None], segments=segments)
    else:
        outputs = model.model(inputs_embeds=embeds, position_ids=positions, use_cache=False)
        hidden = outputs.last_hidden_state[0, supervised]
    return model._loss(hidden, targets[supervised])


def _lengths(spliced: Spliced) -> Tensor:
    """Number of positions of each row that its loss depends on, int64 [B]: those before its last supervised token."""
    assert spliced.labels is not None
    places = torch.arange(spliced.labels.shape[1], device=spliced.labels.device)
    return ((spliced.labels != IGNORED_LABEL) * places).amax(dim=1)
