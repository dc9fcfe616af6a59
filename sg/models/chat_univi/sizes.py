"""The sizes of Chat-UniVi, from its config files or from its name; the weights are not needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sg.artefacts.visual_tokens.store import BYTES_PER_VALUE
from sg.models.chat_univi.settings import ModelConfig
from sg.models.hub_files import present_file
from sg.models.sizes import ModelSize, language_model_sizes

if TYPE_CHECKING:
    from sg.models.chat_univi.abstractor import MergeSettings

VICUNA_13B: dict[str, Any] = {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
}
CLIP_VIT_L_14: dict[str, Any] = {"image_size": 224}


def model_size(config: ModelConfig) -> ModelSize | None:
    """The sizes of the model, or None if its config is not on this machine and its name is not a known one."""
    from sg.models.chat_univi.abstractor import MergeSettings

    if config.checkpoint is not None:
        whole = plain_config(config.checkpoint)
        if whole is None or "text_config" not in whole:
            return None
        text, tower = whole["text_config"], whole["vision_config"]
    else:
        assert config.language_model is not None and config.vision_tower is not None  # checked by the schema
        text, tower = plain_config(config.language_model), plain_config(config.vision_tower)
        if text is None or tower is None:
            return None
        tower = tower.get("vision_config", tower)
    merging = MergeSettings(clusters=tuple(config.spatial_clusters), temporal_rate=config.temporal_cluster_rate)
    values = BYTES_PER_VALUE[config.dtype], BYTES_PER_VALUE[config.visual_token_dtype]
    return composite_size(text, tower, merging, config.select_layer, config.max_frames, values)


def composite_size(
    text: Mapping[str, Any],
    tower: Mapping[str, Any],
    merging: MergeSettings,
    select_layer: int = -2,
    max_frames: int = 64,
    value_bytes: tuple[int, int] = (4, 2),
) -> ModelSize:
    """The sizes of a model with these plain configs of a Llama or Qwen language model and of a CLIP or SigLIP tower.

    `value_bytes` are those of a weight and of a value of a cached visual token.
    """
    width, inner, layers = tower["hidden_size"], tower["intermediate_size"], tower["num_hidden_layers"]
    hidden = text["hidden_size"]
    # The class token of CLIP is one more position.
    positions = (tower["image_size"] // tower["patch_size"]) ** 2 + ("siglip" not in tower.get("model_type", "clip"))
    linear = 2 * positions * (4 * width**2 + 2 * width * inner)
    # Layers up to the selected one run; merging adds less than 1 %.
    num_run = select_layer if select_layer >= 0 else layers + 1 + select_layer
    return ModelSize(
        **language_model_sizes(text),
        connector_weights=(width + 1) * hidden,
        connector_flops=2 * width * hidden,
        # Approximate: linear layers with biases, and norms.
        tower_weights=layers * (4 * width * (width + 1) + 2 * width * inner + inner + width + 4 * width),
        frame_flops=num_run * (linear + 4 * width * positions**2),
        visual_tokens=lambda frames, facts=None: merging.num_tokens(min(frames, max_frames)),
        max_frames=max_frames,
        weight_bytes=value_bytes[0],
        token_bytes=width * value_bytes[1],
    )


def missing_weights(config: ModelConfig) -> list[str]:
    """The parts of the model that are neither on this machine nor in the hub's cache, with the commands to get them."""
    parts = {key: getattr(config, key) for key in ("checkpoint", "language_model", "vision_tower", "projector")}
    return [
        f"{name} (weights: hf download {name}, or set model.{key})"
        for key, name in parts.items()
        if name is not None and present_file(name, "config.json") is None
    ]


def plain_config(name: str) -> dict[str, Any] | None:
    """The plain config of a model on this machine, or of a well-known one by its name on the hub."""
    path = present_file(name, "config.json")
    if path is not None and path.is_file():
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config
    return _known().get(name.lower())


def _known() -> dict[str, dict[str, Any]]:
    from sg.models.chat_univi.config import CLIP_VIT_L_14_336, VICUNA_7B_V15

    return {
        "lmsys/vicuna-7b-v1.5": VICUNA_7B_V15,
        "lmsys/vicuna-13b-v1.5": VICUNA_7B_V15 | VICUNA_13B,
        "openai/clip-vit-large-patch14-336": CLIP_VIT_L_14_336,
        "openai/clip-vit-large-patch14": CLIP_VIT_L_14_336 | CLIP_VIT_L_14,
    }
