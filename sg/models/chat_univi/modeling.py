"""Chat-UniVi: frozen vision tower, token merging, linear projector, language model.

See `docs/reference/chat_univi.md`.

Shapes: B rows, L ids, S positions after splicing, F frames of all clips, T frames of one clip, n visual tokens of one
clip, C tower width, D language-model width, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, Cache, GenerationMixin, PreTrainedModel
from transformers.utils.generic import ModelOutput

from sg.core.errors import ModelError
from sg.models.chat_univi.abstractor import ClipNoise, merge_clips
from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.fast.last_layer import (
    can_skip_positions,
    enable_position_skipping,
    hidden_at,
    is_causal_without_mask,
)
from sg.models.chat_univi.fast.layers import fuse_layers
from sg.models.chat_univi.splice import Spliced, run_lengths, splice_visual_tokens
from sg.models.chat_univi.text.special_ids import PLACEHOLDER_ID
from sg.models.chat_univi.vision import PatchEncoder
from sg.models.student import IGNORED_LABEL


@dataclass
class ChatUniViOutput(ModelOutput):
    """The output of `forward`.

    Attributes:
        loss: mean cross-entropy over the supervised tokens, in nats per token; None without labels.
        logits: [B, S, V] float32, or None if only the loss was requested.
        num_supervised: number of supervised tokens.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    cache: Cache | None = None
    num_supervised: Tensor | None = None


class ChatUniViForConditionalGeneration(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """Answers questions about clips and images; each run of placeholders (-200) in the ids stands for one of them."""

    config_class = ChatUniViConfig
    config: ChatUniViConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["cache"]  # noqa: RUF012  # read by transformers
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012  # read by transformers

    def __init__(self, config: ChatUniViConfig) -> None:
        super().__init__(config)
        text = config.text_config
        self.set_language_model(AutoModel.from_config(text))  # type: ignore[no-untyped-call]
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.vision_tower = PatchEncoder(config.vision_config, config.vision_select_layer)
        self.mm_projector = nn.Linear(config.vision_config.hidden_size, text.hidden_size)
        self.merging = config.merging
        self.post_init()  # type: ignore[no-untyped-call]

    def set_language_model(self, model: PreTrainedModel) -> None:
        """Use `model` (without its head) as the language model."""
        self.model: Any = model
        fuse_layers(model)
        self._skips_positions = can_skip_positions(model)
        if self._skips_positions:
            enable_position_skipping(model)

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings of the language model."""
        embeddings: nn.Module = self.model.embed_tokens
        return embeddings

    # ---------------------------------------------------------------------------------------------- vision
    @torch.no_grad()
    def encode_clips(
        self,
        frames: Tensor,
        frame_counts: Sequence[int],
        noise_seeds: Sequence[int] | None = None,
        temporal_noise: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Merged visual tokens before the projector, float32 [n, C] per clip, of `frames` [F, 3, H, W].

        Args:
            frame_counts: frames of each clip. One or two frames are images, each with its own tokens.
            noise_seeds: one per clip, default 0; seeds of the density noise.
            temporal_noise: [T] per clip; replaces the seeded noise of the temporal stage and removes that of the other
                stages. For comparison with numbers of the reference.
        """
        if temporal_noise is not None:
            noises = [ClipNoise(temporal=noise) for noise in temporal_noise]
        else:
            noises = [ClipNoise(seed) for seed in (noise_seeds if noise_seeds is not None else [0] * len(frame_counts))]
        return merge_clips(self.vision_tower(frames, frame_counts), frame_counts, self.merging, noises)

    def encode_video(self, frames: Tensor, noise_seed: int = 0) -> Tensor:
        """Merged visual tokens [n, C] of one clip or image with `frames` [T, 3, H, W]; the cache stores these."""
        return self.encode_clips(frames, [len(frames)], [noise_seed])[0]

    def _frames_in_use(
        self, input_ids: Tensor, frames: Tensor, frame_counts: Sequence[int] | None
    ) -> tuple[Tensor, list[int]]:
        """The frames of each clip that still have placeholders, and their counts: cut ids keep the first frames."""
        used = run_lengths(input_ids)
        given = list(frame_counts) if frame_counts is not None else used
        if len(given) != len(used) or sum(given) != len(frames) or any(u > g for u, g in zip(used, given, strict=True)):
            raise ModelError(
                f"the ids hold runs of {used} placeholders, but the clips have {given} frames ({len(frames)} in all)"
            )
        if given == used:
            return frames, used
        clips = torch.split(frames, given)
        return torch.cat([clip[:count] for clip, count in zip(clips, used, strict=True)]), used

    # ------------------------------------------------------------------------------------------------ text
    def prepare_inputs(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        frames: Tensor | None = None,
        frame_counts: Sequence[int] | None = None,
        visual_tokens: Tensor | None = None,
        visual_counts: Sequence[int] | None = None,
        noise_seeds: Sequence[int] | None = None,
        temporal_noise: Sequence[Tensor] | None = None,
    ) -> Spliced:
        """Embeddings, mask and labels with the visual tokens inserted; the arguments are those of `forward`."""
        if frames is not None and visual_tokens is not None:
            raise ModelError("give either frames or visual_tokens, not both")
        if frames is not None:
            frames, used = self._frames_in_use(input_ids, frames, frame_counts)
            clips = self.encode_clips(frames, used, noise_seeds, temporal_noise) if used else []
            visual_counts = [len(clip) for clip in clips]
            visual_tokens = torch.cat(clips) if clips else None
        weight = self.mm_projector.weight
        text_embeds = self.get_input_embeddings()(input_ids[input_ids != PLACEHOLDER_ID])
        visual_embeds = None
        if visual_tokens is not None and len(visual_tokens):
            visual_embeds = self.mm_projector(visual_tokens.to(weight.device, weight.dtype))
        elif self.training and weight.requires_grad:
            # A batch without visual tokens: DDP waits until every rank has a gradient for every trained parameter, so
            # the projector takes part with weight zero.
            text_embeds = text_embeds + 0.0 * self.mm_projector(weight.new_zeros(1, weight.shape[1])).sum()
        return splice_visual_tokens(input_ids, text_embeds, visual_embeds, visual_counts or (), attention_mask, labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        frames: Tensor | None = None,
        frame_counts: Sequence[int] | None = None,
        visual_tokens: Tensor | None = None,
        visual_counts: Sequence[int] | None = None,
        noise_seeds: Sequence[int] | None = None,
        temporal_noise: Sequence[Tensor] | None = None,
        inputs_embeds: Tensor | None = None,
        cache: Cache | None = None,
        return_logits: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> ChatUniViOutput:
        """Loss or logits of ids [B, L] with clips as `frames` or as `visual_tokens`; ModelError if they contradict.

        Args:
            labels: [B, L], -100 where not supervised. With labels, `logits` is None unless `return_logits` is true.
            frames: [F, 3, H, W] of all clips in reading order; `frame_counts`: default, the lengths of the runs.
            visual_tokens: [sum n, C] of all clips, instead of `frames`; `visual_counts`: n of each clip.
            logits_to_keep: number of last positions whose logits are returned; 0 is all.
        """
        if inputs_embeds is None and input_ids is None:
            raise ModelError("forward needs input_ids or inputs_embeds")
        if inputs_embeds is None and cache is not None and frames is None and visual_tokens is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        elif inputs_embeds is None:
            spliced = self.prepare_inputs(
                cast(Tensor, input_ids), attention_mask, labels, frames, frame_counts,
                visual_tokens, visual_counts, noise_seeds, temporal_noise,
            )  # fmt: skip
            if labels is not None and not return_logits:
                return self._loss_alone(spliced, **kwargs)
            inputs_embeds, labels = spliced.embeds, spliced.labels
            attention_mask = _needed_mask(spliced.attention_mask)
        outputs = self.model(inputs_embeds=inputs_embeds, attention_mask=attention_mask, cache=cache, **kwargs)
        return self._output(outputs.last_hidden_state, outputs.cache, labels, return_logits, logits_to_keep)

    def _output(
        self,
        hidden: Tensor,
        cache: Cache | None,
        labels: Tensor | None,
        return_logits: bool | None,
        logits_to_keep: int,
    ) -> ChatUniViOutput:
        """What is asked for of the hidden states [B, L, D]: the loss with labels, logits without or on request."""
        output = ChatUniViOutput(cache=cache)
        if labels is not None:
            supervised = _supervised(labels)
            output.loss, output.num_supervised = self._loss(hidden[supervised], labels[:, 1:][supervised[:, :-1]])
        if return_logits or (return_logits is None and labels is None):
            output.logits = self.lm_head(hidden[:, -logits_to_keep:] if logits_to_keep else hidden).float()
        return output

    def _loss_alone(self, spliced: Spliced, **kwargs: Any) -> ChatUniViOutput:
        """The loss of a batch; positions that it does not depend on are not computed."""
        embeds, mask, targets = _up_to_last_target(spliced)
        needed = _needed_mask(mask)
        supervised = targets != IGNORED_LABEL
        if needed is None and self._skips_positions and is_causal_without_mask(self.model):
            positions = torch.arange(embeds.shape[1], device=embeds.device)[None]
            hidden = hidden_at(self.model, embeds, positions, supervised)
        else:
            outputs = self.model(inputs_embeds=embeds, attention_mask=needed, use_cache=False, **kwargs)
            hidden = outputs.last_hidden_state[supervised]
        loss, count = self._loss(hidden, targets[supervised])
        return ChatUniViOutput(loss=loss, num_supervised=count)

    def _loss(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy of hidden states [K, D] with K targets, K); for K = 0 a loss of 0 with zero gradients."""
        logits = self.lm_head(hidden).float()
        count = torch.tensor(len(targets), device=targets.device)
        return F.cross_entropy(logits, targets, reduction="sum") / max(len(targets), 1), count

    # ------------------------------------------------------------------------------------------ generation
    @torch.no_grad()
    def generate(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """The new ids [B, up to max_new_tokens], filled with the pad id after `eos`; greedy unless `do_sample=True`.

        Takes the visual arguments of `forward` and those of transformers' `generate` (`max_new_tokens`, `temperature`).
        Prompts [B, L] may differ in length and are padded on the right, where `attention_mask` is False.
        """
        visual_keys = ("frames", "frame_counts", "visual_tokens", "visual_counts", "noise_seeds", "temporal_noise")
        visual = {key: kwargs.pop(key) for key in visual_keys if key in kwargs}
        spliced = self.prepare_inputs(input_ids, attention_mask, **visual)
        embeds, mask = _padded_on_the_left(spliced)
        kwargs.setdefault("do_sample", False)
        ids = GenerationMixin.generate(cast(Any, self), inputs_embeds=embeds, attention_mask=mask, **kwargs)
        return cast(Tensor, ids)


def _needed_mask(mask: Tensor) -> Tensor | None:
    """`mask`, or None if all padding is on the right: causal attention never reads later positions.

    Without a mask the attention kernels take a faster path.
    """
    return mask if bool((mask[:, 1:] & ~mask[:, :-1]).any()) else None


def _supervised(labels: Tensor) -> Tensor:
    """[B, S], True at the positions whose next token is supervised."""
    supervised = torch.zeros_like(labels, dtype=torch.bool)
    supervised[:, :-1] = labels[:, 1:] != IGNORED_LABEL
    return supervised


def _up_to_last_target(spliced: Spliced) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, mask and next labels up to the last supervised position, because later ones have no effect."""
    next_labels = cast(Tensor, spliced.labels)[:, 1:]
    used = (next_labels != IGNORED_LABEL).any(dim=0).nonzero()
    length = int(used[-1]) + 1 if len(used) else 1
    targets = F.pad(next_labels, (0, 1), value=IGNORED_LABEL)[:, :length]
    return spliced.embeds[:, :length], spliced.attention_mask[:, :length], targets


def _padded_on_the_left(spliced: Spliced) -> tuple[Tensor, Tensor]:
    """Embeddings and mask with the padding moved to the left, so that all rows continue at the same position."""
    mask = spliced.attention_mask
    order = mask.long().argsort(dim=1, stable=True)
    width = int(mask.sum(dim=1).max())
    order = order[:, -width:]
    embeds = spliced.embeds.gather(1, order[:, :, None].expand(-1, -1, spliced.embeds.shape[-1]))
    return embeds, mask.gather(1, order)
