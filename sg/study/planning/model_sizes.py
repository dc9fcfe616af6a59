"""The sizes of the model under study, from its config files or from its name; the weights are not needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sg.models.config import ModelConfig
from sg.train.flops import ModelSize

VICUNA_13B: dict[str, Any] = {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
}
CLIP_VIT_L_14: dict[str, Any] = {"image_size": 224}


def model_size(config: ModelConfig) -> ModelSize | None:
    """The sizes of the model, or None if its config is not on this machine and its name is not a known one."""
    if config.checkpoint is not None:
        whole = _config(config.checkpoint)
        if whole is None or "text_config" not in whole:
            return None
        return ModelSize.of(whole["text_config"], whole["vision_config"])
    assert config.language_model is not None and config.vision_tower is not None  # checked by the schema
    text, tower = _config(config.language_model), _config(config.vision_tower)
    return None if text is None or tower is None else ModelSize.of(text, tower.get("vision_config", tower))


def missing_weights(config: ModelConfig) -> list[str]:
    """The parts of the model that are neither on this machine nor in the hub's cache, with the commands to get them."""
    parts = {key: getattr(config, key) for key in ("checkpoint", "language_model", "vision_tower", "projector")}
    return [
        f"{name} (weights: hf download {name}, or set model.{key})"
        for key, name in parts.items()
        if name is not None and _file(name, "config.json") is None
    ]


def _config(name: str) -> dict[str, Any] | None:
    """The plain config of a model on this machine, or of a well-known one by its name on the hub."""
    path = _file(name, "config.json")
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


def _file(name: str, file: str) -> Path | None:
    """The path of `file` in the model's folder or the hub's cache; if the model is a single file, the path of that."""
    from sg.models.chat_univi.identity import local_path

    path = local_path(name)
    if path is not None:
        return path / file if path.is_dir() else path
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None
