"""A micro-batch as one row without padding, whose samples never attend to one another.

Every sample keeps its own positions 0, 1, 2, ... and is cut before its last supervised token, because no later position
can change the loss. Samples without supervised tokens are left out. Loss and gradients are those of the padded batch.
Attention runs sample by sample: with PyTorch's kernel for variable lengths on a GPU in half precision, elsewhere with
one call per sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sg.models.chat_univi.fast.last_layer import can_skip_positions, hidden_at
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.splice import Spliced
from sg.models.student import IGNORED_LABEL

ATTENTION = "sg_packed"


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the samples of a packed row lie: `bounds` [samples + 1] int32 on the row's device, and their lengths."""

    bounds: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Segments:
        """The segments of samples with these lengths, one after another."""
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(bounds, tuple(lengths))


def use_packed_attention(model: ChatUniViForConditionalGeneration) -> None:
    """Let the language model's attention accept `Segments`; without them it stays PyTorch's own.

    Other architectures keep their own attention. For these, transformers builds the mask of separate samples from the
    positions, which start again at 0 with each sample.
    """
    if can_skip_positions(model.model):
        AttentionInterface.register(ATTENTION, _packed_attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.model.config._attn_implementation = ATTENTION


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


def _packed_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Causal attention inside each segment: `query` [1, H, S, D], `key` and `value` [1, G, S, D] -> [1, S, H, D]."""
    segments: Segments | None = kwargs.pop("segments", None)
    if segments is None:
        plain: tuple[Tensor, None] = ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, attention_mask, **kwargs
        )
        return plain
    scale, grouped = kwargs.get("scaling"), query.shape[1] != key.shape[1]
    if query.is_cuda and value.dtype in (torch.bfloat16, torch.float16):
        from torch.nn.attention.varlen import varlen_attn

        packed_query, packed_key, packed_value = (
            tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value)
        )
        longest = max(segments.lengths)
        attended: Tensor = varlen_attn(  # type: ignore[assignment]  # returns a tuple only with auxiliary outputs
            packed_query,
            packed_key,
            packed_value,
            segments.bounds,
            segments.bounds,
            longest,
            longest,
            scale=scale,
            window_size=(-1, 0),
            enable_gqa=grouped,
        )
        return attended[None], None
    parts = [
        F.scaled_dot_product_attention(
            query[:, :, start:end], key[:, :, start:end], value[:, :, start:end],
            is_causal=True, scale=scale, enable_gqa=grouped,
        )
        for start, end in pairwise(accumulate(segments.lengths, initial=0))
    ]  # fmt: skip
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None
