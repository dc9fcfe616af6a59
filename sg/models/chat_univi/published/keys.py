"""Names and settings of the published checkpoints, mapped to ours and back.

See `docs/reference/chat_univi.md`, sections 2 and 16.
"""

from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import LlamaConfig

from sg.core.errors import ModelError
from sg.models.chat_univi.config import CLIP_VIT_L_14_336, ChatUniViConfig

OUR_TOWER = "vision_tower.vision_tower."
REFERENCE_TOWER = "model.vision_tower.vision_tower.vision_model."
OUR_PROJECTOR = "mm_projector."
REFERENCE_PROJECTOR = "model.mm_projector."
IGNORED_SUFFIXES = ("rotary_emb.inv_freq", "embeddings.position_ids")
"""Buffers that old transformers versions stored; the config determines them."""

TOWER_CONFIG_FILE = "vision_config.json"
"""File beside a checkpoint's `config.json` with the sizes of a tower that `KNOWN_TOWERS` lacks."""

KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14-336": CLIP_VIT_L_14_336,
    "openai/clip-vit-large-patch14": {**CLIP_VIT_L_14_336, "image_size": 224},
}

_TEXT_KEYS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps",
    "pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings", "rope_theta", "rope_scaling",
)  # fmt: skip
_PUBLISHED_NEIGHBOURS = ((5, 3, 3), 5)


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
    """Our config from a published `config.json`; `vision` has the tower's sizes if its name is not in `KNOWN_TOWERS`.

    Raises:
        ModelError: a setting has no counterpart here, or the tower's sizes are unknown.
    """
    nested = reference.get("config") or {}
    if not nested.get("use_cluster", True):
        raise ModelError("config.json has use_cluster false: only checkpoints with token merging can be loaded.")
    if reference.get("mm_vision_select_feature", "patch") != "patch":
        raise ModelError("config.json has mm_vision_select_feature other than 'patch', which v1 and v1.5 never use.")
    tower = reference.get("mm_vision_tower", "openai/clip-vit-large-patch14-336")
    vision = vision if vision is not None else KNOWN_TOWERS.get(tower)
    if vision is None:
        raise ModelError(
            f"config.json names the unknown vision tower {tower!r}: put its config beside it as {TOWER_CONFIG_FILE}."
        )
    width = reference.get("mm_hidden_size", vision["hidden_size"])
    if width != vision["hidden_size"]:
        raise ModelError(f"config.json has mm_hidden_size {width}, but its tower is {vision['hidden_size']} wide.")
    text = {key: reference[key] for key in _TEXT_KEYS if reference.get(key) is not None}
    try:
        return ChatUniViConfig(
            text_config={"model_type": "llama", **text},
            vision_config={**vision, "model_type": "clip_vision_model"},
            vision_select_layer=reference.get("mm_vision_select_layer", -2),
            spatial_clusters=[int(nested.get(f"spatial_cluster_rate{i}", d)) for i, d in enumerate((64, 32, 16))],
            temporal_cluster_rate=float(nested.get("temporal_cluster_rate", 1 / 16)),
            image_aspect_ratio=reference.get("image_aspect_ratio") or "square",
        )
    except (ValueError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split()).removesuffix(".")
        raise ModelError(f"config.json describes a model that cannot be built: {reason}.") from error


def config_to_reference(config: ChatUniViConfig, tower_name: str, dtype: torch.dtype) -> dict[str, Any]:
    """A `config.json` for the original code.

    Raises:
        ModelError: the original code does not support a setting of the model.
    """
    text = config.text_config
    neighbours = (tuple(config.spatial_neighbours), config.temporal_neighbours)
    if text.model_type != "llama" or neighbours != _PUBLISHED_NEIGHBOURS or config.min_temporal_neighbours != 1:
        raise ModelError(
            "The original code supports only Llama language models with 5, 3, 3 and 5 neighbours: cannot export."
        )
    rope = text.rope_parameters or {}
    values = {key: getattr(text, key) for key in _TEXT_KEYS if hasattr(text, key)}
    nested: dict[str, Any] = {"use_cluster": True, "freeze": False, "mm_tune": True, "vision_tune": False}
    nested |= {f"spatial_cluster_rate{i}": count for i, count in enumerate(config.spatial_clusters)}
    return {
        **values,
        "rope_theta": rope.get("rope_theta", 10000.0),
        "rope_scaling": _old_rope_scaling(rope),
        "architectures": ["ChatUniViLlamaForCausalLM"],
        "aarchitectures": "LlavaLlamaForCausalLM",
        "model_type": "ChatUniVi",
        "torch_dtype": str(dtype).removeprefix("torch."),
        "use_cache": True,
        "pretraining_tp": 1,
        "mm_vision_tower": tower_name,
        "mm_hidden_size": config.vision_config.hidden_size,
        "mm_vision_select_layer": config.vision_select_layer,
        "mm_vision_select_feature": "patch",
        "use_mm_proj": True,
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "mm_use_box_start_end": False,
        "tune_mm_mlp_adapter": False,
        "freeze_mm_mlp_adapter": False,
        "image_aspect_ratio": config.image_aspect_ratio,
        "image_grid_pinpoints": None,
        "config": nested | {"temporal_cluster_rate": config.temporal_cluster_rate},
    }


def _old_rope_scaling(rope: dict[str, Any]) -> dict[str, Any] | None:
    if rope.get("rope_type", "default") == "default":
        return None
    return {"type": rope["rope_type"], "factor": rope["factor"]}


def rotary_buffers(text: LlamaConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """The rotary frequencies that transformers 4.31 stored with every layer, computed as it did."""
    theta = float((text.rope_parameters or {}).get("rope_theta") or 10000.0)
    head = text.hidden_size // text.num_attention_heads
    frequencies = 1.0 / (theta ** (torch.arange(0, head, 2).float() / head))
    name = "model.layers.{}.self_attn.rotary_emb.inv_freq"
    # Copies, because tensors that share memory are stored once only.
    return {name.format(layer): frequencies.to(dtype, copy=True) for layer in range(text.num_hidden_layers)}
