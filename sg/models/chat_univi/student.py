"""Chat-UniVi as the steps train it and ask it questions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.artefacts.visual_tokens.store import TOKENS
from sg.models.chat_univi.inputs import PIXELS, noise_seed
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.packing import let_pack, packed_loss
from sg.models.chat_univi.sizes import composite_size
from sg.models.chat_univi.splice import run_starts
from sg.models.chat_univi.text.special_ids import EOS_ID, PLACEHOLDER_ID
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, IGNORED_LABEL, LANGUAGE_MODEL, VISION, Batch, BatchSize


class ChatUniViStudent:
    """A loaded Chat-UniVi: a `Student`."""

    parts = {CONNECTOR: ("mm_projector",), LANGUAGE_MODEL: ("model", "lm_head"), VISION: ("vision_tower",)}  # noqa: RUF012

    def __init__(self, model: ChatUniViForConditionalGeneration) -> None:
        self.module = model

    @property
    def blocks(self) -> list[str]:
        """The tower, and the layers of the language model."""
        return ["vision_tower", *(f"model.layers.{number}" for number in range(len(self.module.model.layers)))]

    @property
    def size(self) -> ModelSize:
        """Sizes that decide cost."""
        config = self.module.config
        text, tower = config.text_config.to_dict(), config.vision_config.to_dict()
        return composite_size(text, tower, config.merging, config.vision_select_layer, config.max_frames)

    @property
    def max_positions(self) -> int:
        """Largest number of positions of prompt and answer."""
        return int(self.module.config.text_config.max_position_embeddings)

    @property
    def eos_ids(self) -> list[int]:
        """Tokens that end an answer."""
        eos = self.module.config.text_config.eos_token_id
        return eos if isinstance(eos, list) else [eos]

    shares_prefixes = True

    # ------------------------------------------------------------------------------------------------ clips
    def feature_widths(self, level: str) -> dict[str, int]:
        """Merged visual tokens of the tower's width."""
        return {TOKENS: self.module.config.vision_config.hidden_size}

    def features(self, clips: Sequence[ClipTensors], level: str | None = None) -> list[ClipTensors]:
        """Merged visual tokens before the projector, float32 [n, C]; they are the same at every stage."""
        if not clips:
            return []
        device = next(self.module.vision_tower.parameters()).device
        pixels = torch.cat([clip.tensors[PIXELS] for clip in clips]).to(device)
        counts = [len(clip.facts.frame_indices) for clip in clips]
        seeds = [noise_seed(clip.key, clip.facts) for clip in clips]
        encoded = self.module.encode_clips(pixels, counts, seeds)
        return [
            ClipTensors(clip.key, clip.facts, {TOKENS: tokens}, are_features=True)
            for clip, tokens in zip(clips, encoded, strict=True)
        ]

    # --------------------------------------------------------------------------------------------- training
    def prepare_training(self, packed: bool) -> None:
        """Let attention keep the samples of a packed row apart."""
        if packed:
            let_pack(self.module)

    def loss(self, batch: Batch, packed: bool = False) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy over the supervised tokens in nats, their number)."""
        if packed:
            return packed_loss(self.module, batch)
        output = self.module(**batch)
        return output.loss, output.num_supervised

    def blank_batch(self, samples: int, text_tokens: int, answer_tokens: int, frames: int) -> Batch:
        """Ids, labels and visual tokens of one size."""
        count = self.module.merging.num_tokens(frames)
        ids = torch.full((samples, text_tokens + frames), EOS_ID)
        ids[:, 1 : 1 + frames] = PLACEHOLDER_ID
        labels = torch.full_like(ids, IGNORED_LABEL)
        labels[:, -answer_tokens:] = ids[:, -answer_tokens:]
        batch = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids, dtype=torch.bool)}
        tokens = torch.empty(samples * count, self.module.config.vision_config.hidden_size)
        return batch | {"visual_tokens": tokens, "visual_counts": [count] * samples}

    def measure(self, batch: Batch) -> BatchSize:
        """The work in a batch with visual tokens or with frames."""
        ids: Tensor = batch["input_ids"]
        text = (batch["attention_mask"] & (ids != PLACEHOLDER_ID)).sum(dim=1).tolist()
        runs = run_starts(ids).sum(dim=1).tolist()
        frames = list(batch.get("frame_counts", ()))
        visual = list(batch.get("visual_counts", [self.module.merging.num_tokens(count) for count in frames]))
        positions, start = [], 0
        for row, own_runs in zip(text, runs, strict=True):
            positions.append(row + sum(visual[start : start + own_runs]))
            start += own_runs
        supervised = int((batch["labels"][:, 1:] != IGNORED_LABEL).sum())
        return BatchSize(positions, supervised, sum(visual), sum(frames))

    # -------------------------------------------------------------------------------------------- answering
    def new_cache(self) -> Cache:
        """An empty cache of keys and values."""
        return DynamicCache()

    def prefill(
        self, ids: Tensor, mask: Tensor, clips: Sequence[ClipTensors | None], cache: Cache
    ) -> tuple[Tensor, Tensor]:
        """Run the beginnings of prompts, with visual tokens in place of their placeholders."""
        tokens = [clip.tensors[TOKENS].to(ids.device) for clip in clips if clip is not None]
        spliced = self.module.prepare_inputs(
            ids, mask, visual_tokens=torch.cat(tokens) if tokens else None, visual_counts=[len(one) for one in tokens]
        )
        counts = spliced.attention_mask.cumsum(dim=1)
        self._run(spliced.embeds, spliced.attention_mask, (counts - 1).clamp(min=0), cache)
        return spliced.attention_mask, counts[:, -1]

    def extend(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Run further ids of text; return the logits at the last of them."""
        return self._run(self.module.get_input_embeddings()(ids), mask, positions, cache)

    def _run(self, embeds: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        output = self.module(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits
