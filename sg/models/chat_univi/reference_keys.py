"""Names and settings of the published checkpoints, mapped to ours and back (spec `chat-univi.md` sections 2 and 16)."""

from __future__ import annotations

from typing import Any

from sg.core.errors import ModelError
from sg.models.chat_univi.config import ChatUniViConfig

OUR_TOWER = "vision_tower.vision_tower."
REFERENCE_TOWER = "model.vision_tower.vision_tower.vision_model."
OUR_PROJECTOR = "mm_projector."
REFERENCE_PROJECTOR = "model.mm_projector."
IGNORED_SUFFIXES = ("rotary_emb.inv_freq", "embeddings.position_ids")
"""Buffers that old transformers versions stored and that follow from the config."""

_TEXT_KEYS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps",
    "pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings", "rope_theta", "rope_scaling",
)  # fmt: skip


def to_reference_key(key: str) -> str:
    """Published name of our parameter `key`."""
    if key.startswith(OUR_TOWER):
        return REFERENCE_TOWER + key.removeprefix(OUR_TOWER)
    if key.startswith(OUR_PROJECTOR):
        return REFERENCE_PROJECTOR + key.removeprefix(OUR_PROJECTOR)
    return key


def from_reference_key(key: str) -> str | None:
    """Our name of the published `key`; None for buffers that are not weights."""
    if key.endswith(IGNORED_SUFFIXES):
        return None
    if key.startswith(REFERENCE_TOWER):
        return OUR_TOWER + key.removeprefix(REFERENCE_TOWER)
    if key.startswith(REFERENCE_PROJECTOR):
        return OUR_PROJECTOR + key.removeprefix(REFERENCE_PROJECTOR)
    return key


def config_from_reference(reference: dict[str, Any], vision: dict[str, Any] | None = None) -> ChatUniViConfig:
    """Our config from a published `config.json`; `vision` holds the tower's sizes (default: CLIP ViT-L/14 at 336 px)."""
    nested = reference.get("config", {})
    if not nested.get("use_cluster", True):
        raise ModelError("config.json has use_cluster false; only checkpoints with token merging can be loaded")
    text = {key: reference[key] for key in _TEXT_KEYS if reference.get(key) is not None}
    extra: dict[str, Any] = {} if vision is None else {"vision_config": {"model_type": "clip_vision_model", **vision}}
    return ChatUniViConfig(
        text_config={"model_type": "llama", **text},
        vision_select_layer=reference.get("mm_vision_select_layer", -2),
        spatial_clusters=[int(nested.get(f"spatial_cluster_rate{i}", d)) for i, d in enumerate((64, 32, 16))],
        temporal_cluster_rate=float(nested.get("temporal_cluster_rate", 1 / 16)),
        image_aspect_ratio=reference.get("image_aspect_ratio") or "square",
        **extra,
    )
