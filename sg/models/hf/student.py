"""A loaded model of transformers as a `Student`: loss, cached features, and prefixes for answering.

Shapes: B samples, L ids, S new positions, K positions in a cache, D width, V vocabulary.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.core.errors import ConfigError, ModelError
from sg.models.hf import TOWER_OUTPUT, features
from sg.models.hf.batching import pack, packed_arguments, padded_arguments
from sg.models.hf.features import Features
from sg.models.hf.language import LanguageInputs, LanguageModel
from sg.models.hf.media import PIXELS, TRIED_CLIP, TRIED_IMAGE
from sg.models.hf.parts import find_blocks, find_parts
from sg.models.hf.processor import MASK, TOWER, TYPES, HfProcessor
from sg.models.hf.tower import TowerOutput
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, IGNORED_LABEL, TEXT, VISION, Batch, BatchSize, part_of

FEATURE = "features."
"""Begins the names of cached features; a number follows."""
TRIED_TOWER = {
    False: (TRIED_CLIP, ClipFacts((0, 1, 2, 3, 4, 5), 1.0, 6, 128, 96)),
    True: (TRIED_IMAGE, ClipFacts((0,), 0.0, 1, 160, 48)),
}
"""Clips of different length and size, to separate the tower from the connector with."""
LOGITS_AT_ONCE = 1024
"""Rows of logits that are in memory at a time: a vocabulary of 150,000 tokens takes 0.6 MB per row in float32."""


@dataclass(frozen=True, slots=True)
class _UnpaddedSample:
    """A sample of a batch without padding."""

    ids: Tensor
    labels: Tensor
    token_types: Mapping[str, Tensor]
    clip: Mapping[str, Tensor]
    sides: Mapping[str, Tensor]
    is_features: bool
    is_image: bool


class HfStudent:
    """A model of `AutoModelForImageTextToText`.

    Args:
        model: in evaluation mode.
        processor: of the same checkpoint.
        parts: modules by part that replace those that are found.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: HfProcessor,
        label: str,
        size: ModelSize,
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.module, self.processor, self.size, self._label = model, processor, size, label
        self.language = LanguageModel(model, label)
        self.parts = find_parts(self.language, parts)
        self.blocks = find_blocks(model)

    @property
    def max_positions(self) -> int:
        """Largest number of positions of prompt and answer."""
        return int(self.language.decoder.config.max_position_embeddings)

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end an answer: those of the model's settings, and the one that closes a turn of its template."""
        found = self.module.generation_config.eos_token_id if self.module.generation_config else None
        found = found if found is not None else getattr(self.module.config.get_text_config(), "eos_token_id", None)
        ends = found if isinstance(found, list) else [] if found is None else [found]
        return frozenset([*ends, *self.processor.wording.closing_ids])

    @cached_property
    def shares_prefixes(self) -> bool:
        """Whether all layers keep all keys and values; windows and recurrent states would mix with padding."""
        return all(type(layer) is DynamicLayer for layer in self.new_cache().layers)

    # ------------------------------------------------------------------------------------------------ clips
    def feature_widths(self, level: str) -> Mapping[str, int]:
        """By name the width of the features; they are computed once, for a small clip."""
        clip = self._tried(is_image=False)
        return {name: value.shape[1] for name, value in self.features([clip], level)[0].tensors.items()}

    @torch.no_grad()
    def features(self, clips: Sequence[ClipTensors], level: str | None = None) -> list[ClipTensors]:
        """The features of clips, each computed on its own; images and videos have the same names.

        Args:
            level: `TOWER_OUTPUT`, or everything that enters the language model.

        Raises:
            ModelError: the features of this model cannot be cached.
        """
        found = []
        for clip in clips:
            if level == TOWER_OUTPUT:
                rows, name = self._tower(clip.facts.is_image).rows(clip.tensors), TOWER
            else:
                encoded = features.flattened(features.encode(self.module, clip.tensors), self._label)
                rows, name = list(encoded.values()), FEATURE
            tensors = {f"{name}{number}": value for number, value in enumerate(rows)}
            tensors |= self._cached_masks(clip, rows[0])
            found.append(ClipTensors(clip.key, clip.facts, tensors, True))
        return found

    def _cached_masks(self, clip: ClipTensors, rows: Tensor) -> dict[str, Tensor]:
        sides = self.processor.sides(clip) if self._masks else {}
        masks = {name: sides.get(name, torch.ones(len(rows))) for name in self._masks}
        if any(len(mask) != len(rows) for mask in masks.values()):
            raise ModelError(
                f"{self._label} has a vision tower whose output cannot be cached (it is merged, then a part dropped)."
            )
        return {f"{MASK}{name}": mask[:, None].to(rows) for name, mask in masks.items()}

    def _tried(self, is_image: bool, facts: ClipFacts | None = None) -> ClipTensors:
        """A small grey clip as pixels."""
        facts = facts or (TRIED_IMAGE if is_image else TRIED_CLIP)
        frames = torch.full((len(facts.frame_indices), facts.height, facts.width, 3), 128, dtype=torch.uint8).numpy()
        tensors = self.processor.pixels(frames, facts)
        tensors.pop(TEXT, None)
        return ClipTensors("", facts, tensors, False)

    @cached_property
    def _masks(self) -> list[str]:
        """Names of the masks over the visual tokens of a clip, of processors that drop some by what the frames show."""
        sides = self.processor.sides(self._tried(is_image=False)) if self.processor.needs_frames else {}
        return [name for name, value in sides.items() if value.dtype == torch.bool]

    @cached_property
    def _paths(self) -> dict[bool, tuple[list[str], Features]]:
        """Where each of the features stands in what the model computes, for videos (False) and images (True)."""
        found = {}
        for is_image in (False, True):
            with contextlib.suppress(ModelError), torch.no_grad():  # some models take one of the two only
                encoded = features.encode(self.module, self._tried(is_image).tensors)
                names = list(features.flattened(encoded, self._label))
                found[is_image] = names, features.without_tensors(encoded)
        return found

    @cached_property
    @torch.inference_mode(False)  # gradients show what the connector reads
    def _towers(self) -> dict[bool, TowerOutput | ModelError]:
        """The separated tower for videos (False) and images (True), or why it cannot be separated."""
        found: dict[bool, TowerOutput | ModelError] = {}
        for is_image in (False, True):
            try:
                tried = [self._tried(is_image, facts).tensors for facts in TRIED_TOWER[is_image]]
                found[is_image] = TowerOutput(self.module, self.parts, tried, self._label)
            except ModelError as error:
                found[is_image] = error
        return found

    def _tower(self, is_image: bool) -> TowerOutput:
        tower = self._towers[is_image]
        if isinstance(tower, ModelError):
            raise tower
        return tower

    # --------------------------------------------------------------------------------------------- training
    def prepare_training(self, packed: bool) -> None:
        """Learn what features look like, as the weights are whole now; switch to packed attention.

        Raises:
            ConfigError: samples of a packed row would see one another in this model.
        """
        if next(self.module.parameters()).is_meta:  # a rehearsal, without weights and processor
            pass
        elif not any(value.requires_grad for value in self._weights_of(VISION, CONNECTOR)):
            _ = self._paths
        elif not any(value.requires_grad for value in self._weights_of(VISION)):
            _ = self._towers
        if packed and not pack(self.language):
            raise ConfigError(
                f"trainer.packed=true puts several samples into one row, which {self._label} cannot keep apart: "
                "set trainer.packed=false and stage.<name>.group_by_length=true."
            )

    def loss(self, batch: Batch, packed: bool = False) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the supervised tokens, and their number."""
        samples, targets = [], []
        for row in _rows(batch):
            supervised = (row.labels[1:] != IGNORED_LABEL).nonzero()[:, 0]
            if len(supervised):
                length = int(supervised[-1]) + 1  # the last position that predicts a supervised token
                samples.append((self._inputs(row).cut(length), supervised))
                targets.append(row.labels[1:][supervised])
        rest = self._touch_all(batch["input_ids"].device)
        count = sum(len(target) for target in targets)
        if not samples:  # run once all the same: the other devices wait for this one in every layer
            ids = batch["input_ids"].new_tensor(self.processor.wording.some_text_ids[:1])
            samples, targets = [(self._inputs(self._prompt(ids, None)), torch.zeros_like(ids))], [ids]
        loss = self._cross_entropy(self._hidden(samples, packed), torch.cat(targets))
        return (loss if count else 0.0 * loss) + rest, torch.tensor(count, device=rest.device)

    def _inputs(self, row: _UnpaddedSample) -> LanguageInputs:
        types = {name: value[None] for name, value in row.token_types.items()}
        takes = [name for name in self.language.takes if not name.startswith(PIXELS)]
        sides = {name: value for name, value in row.sides.items() if name in takes}
        arguments: dict[str, Any] = {**types, **sides} if row.clip else types
        if row.clip and row.is_features:
            arguments["mm_encoder_outputs"] = self._restored(row)
        elif row.clip and features.can_take_features(self.module):
            arguments["mm_encoder_outputs"] = features.encode(self.module, row.clip)
        elif row.clip:
            arguments |= {name: value for name, value in row.clip.items() if name in self.language.takes}
        arguments = {name: value for name, value in arguments.items() if name in self.language.takes}
        return self.language.inputs(row.ids, **arguments)

    def _restored(self, row: _UnpaddedSample) -> Features:
        kept = [row.clip[f"{TOWER}{number}"] for number in range(len(row.clip)) if f"{TOWER}{number}" in row.clip]
        if kept:
            weight = self._weights_of(VISION)[0]
            rows = [value.to(weight.device, weight.dtype) for value in kept]
            return self._tower(row.is_image).restored(rows, row.sides)
        table, (paths, like) = self.language.embeddings, self._paths[row.is_image]
        named = {path: row.clip[f"{FEATURE}{number}"] for number, path in enumerate(paths)}
        return features.restored(named, table.device, table.dtype, like)

    def _hidden(self, samples: Sequence[tuple[LanguageInputs, Tensor]], packed: bool) -> Tensor:
        """Outputs of the language model at the positions that predict supervised tokens, [n, D]."""
        inputs = [sample for sample, _ in samples]
        if packed:
            row = self.language.run(**packed_arguments(inputs), use_cache=False)[0]
            starts = torch.tensor([0, *[len(sample) for sample in inputs[:-1]]]).cumsum(0).tolist()
            return row[torch.cat([at + start for (_, at), start in zip(samples, starts, strict=True)])]
        rows = self.language.run(**padded_arguments(inputs), use_cache=False)
        return torch.cat([row[at] for row, (_, at) in zip(rows, samples, strict=True)])

    def _cross_entropy(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        """Mean over the tokens; logits are computed again in the backward pass where they do not fit at once."""

        def nats(states: Tensor, ids: Tensor) -> Tensor:
            return F.cross_entropy(self.language.logits(states).float(), ids, reduction="sum")

        total = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(hidden), LOGITS_AT_ONCE):
            part = hidden[start : start + LOGITS_AT_ONCE], wanted[start : start + LOGITS_AT_ONCE]
            is_all = len(hidden) <= LOGITS_AT_ONCE
            total = total + (nats(*part) if is_all else checkpoint(nats, *part, use_reentrant=False))
        return total / len(wanted)

    def _touch_all(self, device: torch.device) -> Tensor:
        """0, with gradients of 0 for all trained weights of tower and connector.

        Not every batch uses them all: text has no clip, and some towers hold weights that nothing reads. Strategies for
        several devices wait for every gradient.
        """
        total = torch.zeros((), device=device)
        for value in self._weights_of(VISION, CONNECTOR):
            if value.requires_grad:
                total = total + 0.0 * value.sum()
        return total

    def _weights_of(self, *parts: str) -> list[Tensor]:
        named = self.module.named_parameters()
        return [value for name, value in named if part_of(self.parts, name.replace(".base_layer", "")) in parts]

    def blank_batch(self, samples: int, text_tokens: int, answer_tokens: int, frames: int) -> Batch:
        """Text of the length of the sample: what stands for visual features differs between families."""
        ids = torch.ones(samples, text_tokens + self.size.visual_tokens(frames), dtype=torch.long)
        labels = torch.full_like(ids, IGNORED_LABEL)
        labels[:, -answer_tokens:] = 1
        none: list[Any] = [{}] * samples
        types = [name for name in ("mm_token_type_ids",) if name in self.language.takes]
        return {
            "input_ids": ids, "labels": labels, "lengths": [ids.shape[1]] * samples, "clips": none, "sides": none,
            "are_images": [False] * samples, "are_features": True, "frames": [0] * samples,
            **{f"{TYPES}{name}": torch.zeros_like(ids) for name in types},
        }  # fmt: skip

    def measure(self, batch: Batch) -> BatchSize:
        """The work in a batch."""
        ids = batch["input_ids"]
        tokens = [getattr(self.module.config, f"{kind}_token_id", None) for kind in ("image", "video")]
        visual = sum(int((ids == token).sum()) for token in {token for token in tokens if token is not None})
        supervised = int((batch["labels"][:, 1:] != IGNORED_LABEL).sum())
        return BatchSize(list(batch["lengths"]), supervised, visual, sum(batch["frames"]))

    # -------------------------------------------------------------------------------------------- answering
    def new_cache(self) -> DynamicCache:
        """An empty cache for the layers of the language model."""
        return DynamicCache(config=self.language.decoder.config)

    def prefill(
        self, ids: Tensor, mask: Tensor, clips: Sequence[ClipTensors | None], cache: Any
    ) -> tuple[Tensor, Tensor]:
        """Run the beginnings of prompts with their clips; see `Student.prefill`.

        Raises:
            DataError: a clip is not whole in its row.
        """
        samples, following = [], []
        for row, clip in zip(range(len(ids)), clips, strict=True):
            length = int(mask[row].sum())
            # One more id of text: its position is the next one, which the last position does not show on all axes.
            asked = torch.cat([ids[row, :length], ids.new_tensor(self.processor.wording.some_text_ids[:1])])
            inputs = self._inputs(self._prompt(asked, clip))
            following.append(int(inputs.positions[:, -1].max()))
            samples.append(inputs.cut(length))
        arguments = padded_arguments(samples)
        self.language.run(**arguments, cache=cache, use_cache=True)
        return mask.clone(), ids.new_tensor(following)

    def _prompt(self, ids: Tensor, clip: ClipTensors | None) -> _UnpaddedSample:
        types = {name: value[0].to(ids.device) for name, value in self.processor.token_types(ids[None]).items()}
        if clip is None:
            return _UnpaddedSample(ids, ids, types, {}, {}, False, False)
        tensors = {name: value.to(ids.device) for name, value in clip.tensors.items()}
        sides = {name: torch.as_tensor(value).to(ids.device) for name, value in self.processor.sides(clip).items()}
        return _UnpaddedSample(ids, ids, types, tensors, sides, clip.are_features, clip.facts.is_image)

    def extend(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """Run further ids of text; see `Student.extend`."""
        arguments = self.language.arguments(ids, positions)
        arguments |= {"attention_mask": mask, "cache": cache, "use_cache": True}
        hidden = self.language.run(**arguments)
        return self.language.logits(hidden[:, -1])


def _rows(batch: Batch) -> list[_UnpaddedSample]:
    found = []
    types = {key.removeprefix(TYPES): value for key, value in batch.items() if key.startswith(TYPES)}
    for row, length in enumerate(batch["lengths"]):
        found.append(
            _UnpaddedSample(
                batch["input_ids"][row, :length],
                batch["labels"][row, :length],
                {name: value[row, :length] for name, value in types.items()},
                batch["clips"][row],
                batch["sides"][row],
                batch["are_features"],
                batch["are_images"][row],
            )
        )
    return found
