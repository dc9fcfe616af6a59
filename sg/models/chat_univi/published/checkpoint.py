"""Converts published Chat-UniVi checkpoints to our model and back, bit for bit.

See `docs/reference/chat_univi.md`, section 16.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig

from sg.core.errors import MissingInputError, ModelError
from sg.core.files import atomic_path, read_json, write_json
from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.published.keys import (
    KNOWN_TOWERS,
    OUR_PROJECTOR,
    OUR_TOWER,
    REFERENCE_PROJECTOR,
    TOWER_CONFIG_FILE,
    config_from_reference,
    config_to_reference,
    from_reference_key,
    rotary_buffers,
    to_reference_key,
)
from sg.models.untrusted import check_config, check_layers
from sg.models.weight_files import PROJECTOR_FILE, iterate_weights, read_weights

_NAMED_IN_ERRORS = 3
_EMBEDDINGS, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


def load_reference_checkpoint(
    folder: Path, tower: Path | None = None, projector: Path | None = None, dtype: torch.dtype | None = None
) -> ChatUniViForConditionalGeneration:
    """The model of a published checkpoint folder, in evaluation mode.

    Args:
        tower: a folder with a vision tower, which replaces that of the checkpoint; the checkpoint can lack one.
        projector: a `mm_projector.bin`, which replaces the projector of the checkpoint.
        dtype: None keeps the type of the file.

    Raises:
        MissingInputError: a file is missing.
        ModelError: a file is damaged, or keys are missing, unexpected or misshaped.
    """
    config = reference_config(folder, tower)
    weights = _our_weights(folder, tower, projector)
    if config.tie_word_embeddings:  # files may hold the shared weights under one of their names
        for one, other in ((_EMBEDDINGS, _HEAD), (_HEAD, _EMBEDDINGS)):
            if one in weights:
                weights.setdefault(other, weights[one])
    check_layers(config.to_dict(), len(weights), str(folder))
    check_weights(config, weights, folder)
    kind = dtype or next(iter(weights.values())).dtype
    model: ChatUniViForConditionalGeneration = ChatUniViForConditionalGeneration.from_pretrained(
        None, config=config, state_dict=weights, dtype=kind
    )
    return model  # from_pretrained leaves it in evaluation mode


def reference_config(folder: Path, tower: Path | None = None) -> ChatUniViConfig:
    """Our config of a published checkpoint folder.

    Raises:
        MissingInputError: it has no `config.json`.
        ModelError: a setting has no counterpart here, or the tower's sizes are unknown.
    """
    if not (folder / "config.json").is_file():
        raise MissingInputError(f"{folder} has no config.json: give the folder of a published Chat-UniVi checkpoint.")
    vision = _tower_config(folder, tower)
    check_config(vision or {}, str(folder))
    return config_from_reference(read_json(folder / "config.json"), vision)


def known_tower(model: ChatUniViForConditionalGeneration) -> str:
    """The published name of the model's vision tower by its sizes; `vision_tower` for one of other sizes."""
    own = model.config.vision_config
    equal = (name for name, sizes in KNOWN_TOWERS.items() if all(getattr(own, k, v) == v for k, v in sizes.items()))
    return next(equal, "vision_tower")


def write_reference_files(
    model: ChatUniViForConditionalGeneration,
    folder: Path,
    max_shard_size: str = "5GB",
    safetensors: bool = True,
    tower_name: str = "openai/clip-vit-large-patch14-336",
) -> None:
    """Write the model in the format of the original code to a folder that exists: config, shards, projector."""
    weights = {to_reference_key(key): value.contiguous() for key, value in model.state_dict().items()}
    weights |= rotary_buffers(model.config.text_config, model.dtype)
    write_json(folder / "config.json", config_to_reference(model.config, tower_name, model.dtype))
    if tower_name not in KNOWN_TOWERS:
        write_json(folder / TOWER_CONFIG_FILE, _plain(model.config.vision_config))
    save_torch_state_dict(weights, folder, max_shard_size=max_shard_size, safe_serialization=safetensors)
    export_projector(model, folder / PROJECTOR_FILE)


def export_projector(model: ChatUniViForConditionalGeneration, path: Path) -> None:
    """Write only the projector, in the format of the reference after Stage 1."""
    weights = {
        REFERENCE_PROJECTOR + key: value.detach().cpu() for key, value in model.mm_projector.state_dict().items()
    }
    with atomic_path(path) as temporary:
        torch.save(weights, temporary)


def load_projector(model: ChatUniViForConditionalGeneration, path: Path) -> None:
    """Load a trained projector (`mm_projector.bin` or safetensors, published or our names) into the model.

    Raises:
        ModelError: its weights do not fit.
    """
    found = _projector_weights(path)
    expected = model.mm_projector.state_dict()
    wrong = [key for key in expected if key not in found or found[key].shape != expected[key].shape]
    if wrong:
        key = wrong[0]
        got = "nothing" if key not in found else list(found[key].shape)
        raise ModelError(
            f"{path} does not fit the model: mm_projector.{key} should be {list(expected[key].shape)}, is {got}."
        )
    model.mm_projector.load_state_dict({key: found[key] for key in expected})


def check_weights(config: ChatUniViConfig, weights: Mapping[str, Tensor], source: Path) -> None:
    """Compare names and shapes with those of `config`.

    Raises:
        ModelError: keys are missing, unexpected or misshaped; the message counts them and names the first.
    """
    with torch.device("meta"):
        skeleton = ChatUniViForConditionalGeneration(config).state_dict()
    missing = sorted(to_reference_key(key) for key in skeleton.keys() - weights.keys())
    unexpected = sorted(to_reference_key(key) for key in weights.keys() - skeleton.keys())
    misshaped = sorted(key for key in skeleton.keys() & weights.keys() if skeleton[key].shape != weights[key].shape)
    problems = []
    if missing:
        problems.append(f"{len(missing)} missing ({_some(missing)})")
    if unexpected:
        problems.append(f"{len(unexpected)} unexpected ({_some(unexpected)})")
    if misshaped:
        shapes = (
            f"{to_reference_key(k)} {list(weights[k].shape)} instead of {list(skeleton[k].shape)}" for k in misshaped
        )
        problems.append(f"{len(misshaped)} of another shape ({_some(shapes)})")
    if problems:
        raise ModelError(f"The weights in {source} do not fit its config.json: {'; '.join(problems)}.")


def _some(names: Iterable[str]) -> str:
    named = list(names)
    rest = len(named) - _NAMED_IN_ERRORS
    return ", ".join(named[:_NAMED_IN_ERRORS]) + (f" and {rest} more" if rest > 0 else "")


def _our_weights(folder: Path, tower: Path | None, projector: Path | None) -> dict[str, Tensor]:
    """The tensors of the checkpoint under our names; `tower` and `projector` replace its own parts."""
    weights: dict[str, Tensor] = {}
    for key, value in iterate_weights(folder):
        ours = from_reference_key(key)
        if ours is not None:
            weights[ours] = value
    has_projector = any(key.startswith(OUR_PROJECTOR) for key in weights)
    if projector is None and not has_projector and (folder / PROJECTOR_FILE).is_file():
        projector = folder / PROJECTOR_FILE
    if projector is not None:
        weights |= {OUR_PROJECTOR + key: value for key, value in _projector_weights(projector).items()}
    if tower is not None:
        weights = {key: value for key, value in weights.items() if not key.startswith(OUR_TOWER)}
        weights |= _tower_weights(tower)
    return weights


def _projector_weights(path: Path) -> dict[str, Tensor]:
    return {key.rpartition("mm_projector.")[2]: value for key, value in read_weights(path).items()}


def _tower_weights(folder: Path) -> dict[str, Tensor]:
    """The vision tower of a CLIP folder, under our names."""
    found: dict[str, Tensor] = {}
    for key, value in iterate_weights(folder):
        if key.startswith(("text_model.", "text_projection.", "visual_projection.", "logit_scale")):
            continue
        if not key.endswith("embeddings.position_ids"):
            found[OUR_TOWER + key.removeprefix("vision_model.")] = value
    return found


def _tower_config(folder: Path, tower: Path | None) -> dict[str, Any] | None:
    """The sizes of the tower from its folder, or from a file beside the checkpoint; None if its name decides them."""
    if tower is not None:
        config = read_json(tower / "config.json")
        return dict(config.get("vision_config", config))
    path = folder / TOWER_CONFIG_FILE
    return dict(read_json(path)) if path.is_file() else None


def _plain(config: CLIPVisionConfig | LlamaConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return plain
