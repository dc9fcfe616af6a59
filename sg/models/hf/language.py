"""What enters the language model of any video model of transformers, taken out, batched, and given to it.

The model's own code turns ids and visual features into the inputs of its language model: embeddings, positions on one
or several axes, features for later layers, masks. It runs for one sample at a time, with the language model replaced by
a stub that keeps its arguments. Batching and packing are then the same for all families. The model's own code also
turns the outputs into logits, again round a stub, so that a scaling or a cap of its logits is kept.

Shapes: B samples, S positions of a sample, D width, A axes of the positions, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from sg.core.errors import ModelError


@dataclass(frozen=True, slots=True)
class LanguageInputs:
    """The inputs of the language model for one sample.

    Attributes:
        embeds: [S, D].
        positions: int64 [A, S].
        allowed: bool [S, S], which positions attend to which, where that is not simply causal; by kind of layers, or
            under "" for all layers.
        by_position: further arguments with one entry per position, [S, ...].
        by_visual: further arguments with one entry per visual position, [n, ...] each; a name may have several.
        others: further arguments.
    """

    embeds: Tensor
    positions: Tensor
    allowed: dict[str, Tensor] = field(default_factory=dict)
    by_position: dict[str, Tensor] = field(default_factory=dict)
    by_visual: dict[str, list[Tensor]] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.embeds)

    def cut(self, length: int) -> LanguageInputs:
        """The first `length` positions."""
        visible = {name: value[:length] for name, value in self.by_position.items()}
        masks = [value for value in visible.values() if value.dtype == torch.bool]
        count = int(masks[0].sum()) if masks else 0
        return LanguageInputs(
            self.embeds[:length],
            self.positions[:, :length],
            {kind: mask[:length, :length] for kind, mask in self.allowed.items()},
            visible,
            {name: [level[:count] for level in levels] for name, levels in self.by_visual.items()},
            self.others,
        )


class LanguageModel:
    """The language model inside a model of transformers, with the model's code around it."""

    def __init__(self, model: PreTrainedModel, label: str) -> None:
        self.model, self.label = model, label
        self.decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]  # transformers'
        while (inner := self.decoder.get_decoder()) is not self.decoder:
            self.decoder = inner
        self.takes = frozenset(signature(model.base_model.forward).parameters)
        if self.decoder is model.base_model:
            raise ModelError(f"{label} has no language model that is a part of its own.")

    @property
    def embeddings(self) -> Tensor:
        """The embeddings of all tokens [V, D]."""
        table: Tensor = self.model.get_input_embeddings().weight  # type: ignore[assignment]  # of an embedding layer
        return table

    def inputs(self, ids: Tensor, **arguments: Any) -> LanguageInputs:
        """The inputs of the language model for one sample, with gradients.

        Args:
            ids: int64 [S].
            arguments: what the model takes besides: visual features or pixel values, grids, types of tokens.
        """
        kept = self._arguments(input_ids=ids[None], **arguments)
        embeds = kept.pop("inputs_embeds")[0]
        positions = kept.pop("position_ids", None)
        if positions is None:
            positions = torch.arange(len(ids), device=ids.device)[None]
        allowed = self._allowed(kept.pop("attention_mask", None), len(ids))
        by_position, by_visual, others = self._sorted(kept, len(ids))
        return LanguageInputs(embeds, positions.reshape(-1, len(ids)), allowed, by_position, by_visual, others)

    def arguments(self, ids: Tensor, positions: Tensor) -> dict[str, Any]:
        """Arguments of the language model for text: `ids` and `positions` int64 [B, S], the same on all axes."""
        return self._arguments(input_ids=ids, position_ids=positions)

    def _arguments(self, **arguments: Any) -> dict[str, Any]:
        kept: dict[str, Any] = {}

        def keep(**given: Any) -> BaseModelOutputWithPast:
            kept.update(given)
            embeds = given["inputs_embeds"]
            return BaseModelOutputWithPast(last_hidden_state=embeds.detach()[:, :1])

        with self._stubbed(keep), self._one_type():
            self.model(**arguments, use_cache=False)
        return {name: value for name, value in kept.items() if value is not None and name not in ("cache", "use_cache")}

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [n, V] of the language model's outputs [n, D], as the model computes them."""
        device = hidden.device
        arguments: dict[str, Any] = {"input_ids": torch.zeros(1, 1, dtype=torch.long, device=device)}
        if "mm_token_type_ids" in self.takes:
            arguments["mm_token_type_ids"] = torch.zeros(1, 1, dtype=torch.long, device=device)
        with self._stubbed(lambda **_: BaseModelOutputWithPast(last_hidden_state=hidden[None])):
            logits: Tensor = self.model(**arguments, use_cache=False).logits
        return logits[0]

    def run(self, **arguments: Any) -> Tensor:
        """Outputs [B, S, D] of the language model."""
        hidden: Tensor = self.decoder(**arguments).last_hidden_state
        return hidden

    @contextlib.contextmanager
    def _stubbed(self, stub: Callable[..., BaseModelOutputWithPast]) -> Iterator[None]:
        own = self.decoder.__dict__.get("forward")
        self.decoder.forward = stub
        try:
            yield
        finally:
            del self.decoder.forward
            if own is not None:
                self.decoder.forward = own

    @contextlib.contextmanager
    def _one_type(self) -> Iterator[None]:
        """Let embeddings have the type of the whole model, in which some models write features into them.

        They differ where the frozen vision tower is in half precision, and the weights that learn in float32.
        """
        dtype = self.model.base_model.dtype
        if self.embeddings.dtype == dtype:
            yield
            return
        handle = self.model.get_input_embeddings().register_forward_hook(lambda module, args, output: output.to(dtype))
        try:
            yield
        finally:
            handle.remove()

    def _allowed(self, mask: Any, length: int) -> dict[str, Tensor]:
        """Which positions attend to which, from masks that the model makes itself; {} for plain causal attention."""
        if mask is None or (isinstance(mask, Tensor) and mask.ndim == 2):
            return {}
        causal = torch.ones(length, length, dtype=torch.bool, device=self.embeddings.device).tril()
        found = {}
        for kind, own in mask.items() if isinstance(mask, dict) else [("", mask)]:
            if own is None:  # causal attention without a mask
                own = causal
            if not isinstance(own, Tensor) or own.shape[-2:] != (length, length):
                raise ModelError(f"{self.label} makes attention masks of a kind that this program cannot batch.")
            first = own.reshape(-1, length, length)[0]
            found[kind] = first if first.dtype == torch.bool else first == 0
        return {} if "" in found and torch.equal(found[""], causal) else found

    def _sorted(
        self, kept: dict[str, Any], length: int
    ) -> tuple[dict[str, Tensor], dict[str, list[Tensor]], dict[str, Any]]:
        """Divide further arguments by what their entries belong to."""
        by_position = {
            name: value[0]
            for name, value in kept.items()
            if isinstance(value, Tensor) and value.ndim >= 2 and value.shape[:2] == (1, length)
        }
        masks = [value for value in by_position.values() if value.dtype == torch.bool]
        by_visual: dict[str, list[Tensor]] = {}
        others: dict[str, Any] = {}
        for name, value in kept.items():
            levels = [value] if isinstance(value, Tensor) else value
            if name in by_position:
                continue
            if isinstance(levels, (list, tuple)) and levels and all(isinstance(level, Tensor) for level in levels):
                if not masks or any(len(level) != int(masks[0].sum()) for level in levels):
                    raise ModelError(
                        f"{self.label} gives its language model {name}, which this program cannot divide by samples."
                    )
                by_visual[name] = list(levels)
            elif value != ():
                others[name] = value
        return by_position, by_visual, others


def same_axes(samples: Sequence[LanguageInputs]) -> list[Tensor]:
    """The positions [A, S] of every sample with as many axes as the one that has most; those of text are equal."""
    axes = max(len(sample.positions) for sample in samples)
    return [sample.positions.expand(axes, -1) for sample in samples]


def joined(samples: Sequence[LanguageInputs], pad_to: int | None = None) -> dict[str, Any]:
    """Further arguments of a batch: padded to [B, pad_to], or one row [1, sum of S] if `pad_to` is None."""
    arguments: dict[str, Any] = {}
    for name in sorted({name for sample in samples for name in sample.by_position}):
        like = next(sample.by_position[name] for sample in samples if name in sample.by_position)
        rows = [
            sample.by_position.get(name, like.new_zeros(len(sample), *like.shape[1:]))
            for sample in samples
        ]  # fmt: skip
        arguments[name] = torch.cat(rows)[None] if pad_to is None else padded(rows, pad_to)
    for name in sorted({name for sample in samples for name in sample.by_visual}):
        levels = [sample.by_visual[name] for sample in samples if name in sample.by_visual]
        arguments[name] = [torch.cat(level) for level in zip(*levels, strict=True)]
    return samples[0].others | arguments


def padded(rows: Sequence[Tensor], length: int) -> Tensor:
    """Rows [S, ...] of different length as one tensor [B, length, ...], zeros on the right."""
    return torch.stack([F.pad(row, (0, 0) * (row.ndim - 1) + (0, length - len(row))) for row in rows])
