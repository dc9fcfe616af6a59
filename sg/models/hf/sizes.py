"""Sizes of a model for plans: from its config, and from its processor where that is on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from transformers import PreTrainedConfig

from sg.artefacts.visual_tokens.clips import ClipFacts
from sg.models.hf.checkpoint import skeleton
from sg.models.hf.language import LanguageModel
from sg.models.hf.media import PIXELS, ClipProcessor, ProcessedClip
from sg.models.hf.parts import find_parts
from sg.models.sizes import ModelSize, language_model_sizes
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, VISION, part_of
from sg.video.sampling import Timeline

TYPICAL_FRAME = (640, 360)
"""Width and height in pixels that a plan assumes."""
_FPS = 25.0
_LONG_S = 24 * 3600


def model_size(
    config: PreTrainedConfig, label: str, dtype: str, feature_dtype: str, clips: ClipProcessor | PlannedClips,
    parts: Mapping[str, Any] | None = None,
) -> ModelSize:  # fmt: skip
    """The sizes of a model; nothing is loaded."""
    model = skeleton(config, label)
    names = find_parts(LanguageModel(model, label), parts)
    weights = dict.fromkeys((VISION, CONNECTOR, LANGUAGE_MODEL), 0)
    for name, value in model.named_parameters():
        weights[part_of(names, name)] += value.numel()
    text, vision = config.get_text_config().to_dict(), getattr(config, "vision_config", None)
    planned = clips if isinstance(clips, PlannedClips) else PlannedClips.of(clips, config)
    levels = 1 + len(getattr(vision, "deepstack_visual_indexes", None) or ())
    patches = planned.patches_per_frame / planned.tokens_per_frame
    text["tie_word_embeddings"] = getattr(config, "tie_word_embeddings", text.get("tie_word_embeddings"))
    experts = text.get("num_experts_per_tok") or text.get("top_k_experts")
    if experts and text.get("moe_intermediate_size"):  # a token passes these alone
        text["intermediate_size"] = experts * text["moe_intermediate_size"]
    sizes: dict[str, Any] = language_model_sizes(text)
    size = ModelSize(
        **sizes,
        connector_weights=weights[CONNECTOR],
        connector_flops=2.0 * weights[CONNECTOR],
        tower_weights=weights[VISION],
        frame_flops=planned.patches_per_frame * _per_patch(weights[VISION], vision, planned.patches_per_frame),
        visual_tokens=planned.visual_tokens,
        max_frames=planned.max_frames,
        weight_bytes=getattr(torch, dtype).itemsize,
        token_bytes=levels * text["hidden_size"] * getattr(torch, feature_dtype).itemsize,
        tower_bytes=round(
            levels * patches * getattr(vision, "hidden_size", 0) * getattr(torch, feature_dtype).itemsize
        ),
    )
    head_norms = any(name.endswith(".q_norm.weight") for name, _ in model.named_parameters())
    return replace(size, other_weights=weights[LANGUAGE_MODEL] - size.language_model_weights, head_norms=head_norms)


def _per_patch(weights: int, vision: Any, patches: float) -> float:
    """Operations of the tower per patch: its weights, and attention to the other patches of the frame."""
    layers = getattr(vision, "num_hidden_layers", 0)
    return 2.0 * weights + 4.0 * layers * getattr(vision, "hidden_size", 0) * patches


class PlannedClips:
    """How many frames, patches and visual tokens a clip has.

    Args:
        max_frames: most frames of a clip; `tokens_per_frame`, `patches_per_frame`: means, of frames of a usual size.
    """

    def __init__(self, max_frames: float = 64, tokens_per_frame: float = 128, patches_per_frame: float = 512) -> None:
        self.max_frames, self.tokens_per_frame = int(max_frames), tokens_per_frame
        self.patches_per_frame = patches_per_frame

    @classmethod
    def of(cls, clips: ClipProcessor, config: PreTrainedConfig) -> PlannedClips:
        """Counted from what the processor makes of a clip without data."""
        max_frames = len(clips.sampling(Timeline(int(_LONG_S * _FPS), _FPS)))
        return _CountedClips(max_frames, clips, config)

    def visual_tokens(self, frames: int, facts: ClipFacts | None = None, /) -> int:
        """Visual tokens of a clip; see `VisualTokens`."""
        return round(min(frames, self.max_frames) * self.tokens_per_frame)


class _CountedClips(PlannedClips):
    def __init__(self, max_frames: int, clips: ClipProcessor, config: PreTrainedConfig) -> None:
        self._clips, self._config = clips, config
        self._count = lru_cache(maxsize=1024)(self._counted)
        frames = min(max_frames, 16)
        tokens, patches = self._count(_usual_clip(frames))
        super().__init__(max_frames, tokens / frames, patches / frames)

    def visual_tokens(self, frames: int, facts: ClipFacts | None = None, /) -> int:
        if not frames:
            return 0
        return self._count(facts or _usual_clip(min(frames, self.max_frames)))[0]

    def _counted(self, facts: ClipFacts) -> tuple[int, float]:
        """(visual tokens, positions in the tower) of a clip; (visual tokens, 0) where its text is known."""
        clip = ProcessedClip(facts.text, {}) if facts.text else self._clips.imagined(facts)
        ids = self._clips.processor.tokenizer(clip.text, add_special_tokens=False)["input_ids"]
        tokens = {getattr(self._config, f"{kind}_token_id", None) for kind in ("image", "video")}
        values = max([0, *(value.numel() for name, value in clip.tensors.items() if name.startswith(PIXELS))])
        vision = self._config.vision_config
        side = vision.patch_size[0] if isinstance(vision.patch_size, (list, tuple)) else vision.patch_size
        return sum(token in tokens for token in ids), values / (3 * side**2 * getattr(vision, "temporal_patch_size", 1))


def _usual_clip(frames: int) -> ClipFacts:
    """A clip as plans assume it; one of a single frame is an image."""
    return ClipFacts(tuple(range(frames)), 0.0 if frames == 1 else 1.0, frames, *TYPICAL_FRAME)
