"""Samples as one batch for the language model: padded, or packed into one row where none sees another.

Whether a language model can be packed is tried out once: two short texts in one row must give what each gives alone.
Layers that carry a state from one position to the next would mix them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sg.models.hf.language import LanguageInputs, LanguageModel, joined, padded, same_axes
from sg.models.packed_attention import Segments, use_packed_attention

_TRIED_LENGTHS = (3, 5)
_TOLERANCE = 0.05
"""Of a packed output, relative to the largest one. Rounding in bfloat16 is below it, mixed samples far above."""


def padded_arguments(samples: Sequence[LanguageInputs]) -> dict[str, Any]:
    """Arguments of the language model for samples as rows [B, S], padded on the right."""
    length = max(len(sample) for sample in samples)
    positions = torch.stack([F.pad(value, (0, length - value.shape[1])) for value in same_axes(samples)], dim=1)
    real = padded([torch.ones(len(s), dtype=torch.bool, device=s.embeds.device) for s in samples], length)
    return joined(samples, length) | {
        "inputs_embeds": padded([sample.embeds for sample in samples], length),
        "position_ids": positions[0] if len(positions) == 1 else positions,
        "attention_mask": _mask(samples, real),
    }


def packed_arguments(samples: Sequence[LanguageInputs]) -> dict[str, Any]:
    """Arguments of the language model for samples as one row [1, sum of S]; needs `sg.models.packed_attention`."""
    positions = torch.cat(same_axes(samples), dim=1)[:, None]
    embeds = torch.cat([sample.embeds for sample in samples])[None]
    masks = {number: sample.allowed[""] for number, sample in enumerate(samples) if sample.allowed}
    return joined(samples) | {
        "inputs_embeds": embeds,
        "position_ids": positions[0] if len(positions) == 1 else positions,
        # Masks of four dimensions are taken as they are; the attention below ignores this one.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=embeds.device),
        "segments": Segments.of([len(sample) for sample in samples], embeds.device, masks),
    }


def _mask(samples: Sequence[LanguageInputs], real: Tensor) -> Tensor | dict[str, Tensor]:
    """bool [B, S]; if samples have masks of their own [B, 1, S, S], by kind of layers where the model has several.

    Padding attends to itself only.
    """
    kinds = sorted({kind for sample in samples for kind in sample.allowed})
    if not kinds:
        return real
    length = real.shape[1]
    found = {kind: torch.eye(length, dtype=torch.bool, device=real.device).repeat(len(samples), 1, 1) for kind in kinds}
    for kind, masks in found.items():
        for row, sample in enumerate(samples):
            size = len(sample)
            own = sample.allowed.get(kind)
            masks[row, :size, :size] = masks.new_ones(size, size).tril() if own is None else own
    by_kind = {kind: masks[:, None] for kind, masks in found.items()}
    return by_kind.get("", by_kind)


@torch.no_grad()
def pack(language: LanguageModel) -> bool:
    """Switch the language model to `sg.models.packed_attention`; False, and no change, if it would mix the samples.

    The packed texts are compared with the model's own attention, which may do more than the packed one, such as sinks.
    """
    config, table, generator = language.decoder.config, language.embeddings, torch.Generator().manual_seed(0)
    # Layers that see a window, choose positions or carry a state. Short texts do not show all of them.
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention"}:
        return False
    own, was_training = config._attn_implementation, language.model.training
    if table.is_meta:  # a rehearsal has no values to try it with
        use_packed_attention(language.decoder)
        return True
    texts = [torch.randint(len(table), (n,), generator=generator).to(table.device) for n in _TRIED_LENGTHS]
    language.model.train(False)
    try:
        samples = [language.inputs(text) for text in texts]
        alone = torch.cat([language.run(**padded_arguments([sample]), use_cache=False)[0] for sample in samples])
        use_packed_attention(language.decoder)
        packed = language.run(**packed_arguments(samples), use_cache=False)[0]
        fits = bool((packed - alone).abs().max() <= _TOLERANCE * alone.abs().max())
    except (TypeError, ValueError, RuntimeError, LookupError):
        fits = False
    finally:
        language.model.train(was_training)
    if not fits:
        config._attn_implementation = own
    return fits
