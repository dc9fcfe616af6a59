"""Attention in a row that holds several samples, none of which sees another.

It runs sample by sample: with PyTorch's kernel for variable lengths on a GPU in half precision, elsewhere with one call
per sample. transformers calls it for every layer, and hands it the `Segments` that were passed to the language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

PACKED_ATTENTION = "sg_packed"


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the samples of a packed row lie.

    Attributes:
        bounds: [samples + 1] int32 on the row's device; `lengths` of the samples.
        allowed: masks [S, S] of the samples that are not simply causal, by sample.
    """

    bounds: Tensor
    lengths: tuple[int, ...]
    allowed: Mapping[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, allowed: Mapping[int, Tensor] | None = None) -> Segments:
        """The segments of samples with these lengths, one after another."""
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(bounds, tuple(lengths), allowed or {})


def use_packed_attention(language_model: Any) -> None:
    """Let the attention of a language model accept `segments`; without them it stays PyTorch's own."""
    AttentionInterface.register(PACKED_ATTENTION, _packed_attention)
    AttentionMaskInterface.register(PACKED_ATTENTION, sdpa_mask)
    language_model.config._attn_implementation = PACKED_ATTENTION


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
    if kwargs.get("sliding_window"):
        raise ValueError("attention in a window cannot be packed")
    scale, grouped = kwargs.get("scaling"), query.shape[1] != key.shape[1]
    if query.is_cuda and value.dtype in (torch.bfloat16, torch.float16) and not segments.allowed:
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
    parts = []
    for number, (start, end) in enumerate(pairwise(accumulate(segments.lengths, initial=0))):
        own = segments.allowed.get(number)
        part = F.scaled_dot_product_attention(
            query[:, :, start:end], key[:, :, start:end], value[:, :, start:end],
            attn_mask=own, is_causal=own is None, scale=scale, enable_gqa=grouped,
        )  # fmt: skip
        parts.append(part.transpose(1, 2))
    return torch.cat(parts, dim=1), None
