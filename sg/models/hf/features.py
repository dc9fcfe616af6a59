"""Visual features of a clip: everything that the vision side of a model gives to its language model.

transformers' models compute them in `get_video_features` and `get_image_features` and accept them again as
`mm_encoder_outputs`. For the cache they become named tensors [n, C] with one row per visual token.
"""

import copy
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from sg.core.errors import ModelError

_SIDE_OUTPUTS = ("last_hidden_state", "hidden_states", "attentions")
"""Outputs of the tower that do not enter the language model."""

Features = dict[str, Any]
"""The output of the vision side by modality: `video` or `image`."""


def encode(model: PreTrainedModel, tensors: Mapping[str, Tensor]) -> Features:
    """The features of a clip, from what the processor returned for it.

    Raises:
        ModelError: the model takes none of the tensors.
    """
    found: Features = {}
    for modality in ("image", "video"):
        function = getattr(model.base_model, f"get_{modality}_features", None)
        names = signature(function).parameters if function is not None else {}
        given = {name: _as(model, value) for name, value in tensors.items() if name in names}
        if any(name.startswith("pixel_values") for name in given):
            found[modality] = function(**given, return_dict=True)  # type: ignore[misc]  # not None, as it has names
    if not found:
        raise ModelError(f"{type(model).__name__} takes none of {', '.join(sorted(tensors))}: it encodes no such clip.")
    return found


def _as(model: PreTrainedModel, value: Any) -> Any:
    """`value` on the vision tower's device, and in its type if it is a floating-point tensor."""
    tower = next(model.get_encoder(modality="image").parameters())
    if not isinstance(value, Tensor):
        return value
    return value.to(tower.device, tower.dtype if value.is_floating_point() else value.dtype)


def can_take_features(model: PreTrainedModel) -> bool:
    """Whether the model accepts features instead of pixel values."""
    return "mm_encoder_outputs" in signature(model.forward).parameters


def flattened(features: Features, label: str) -> dict[str, Tensor]:
    """Features as tensors [n, C] with the same n; ModelError if the tensors of a clip have no common number of rows."""
    tensors: dict[str, Tensor] = {}
    for modality, output in features.items():
        for name, value in output.items():
            if name not in _SIDE_OUTPUTS and value is not None:
                tensors |= _leaves(f"{modality}.{name}", value)
    flat = {name: value.reshape(-1, value.shape[-1]) for name, value in tensors.items()}
    if len({len(value) for value in flat.values()}) != 1:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in flat.items())
        raise ModelError(
            f"{label} has features that cannot be cached ({shapes}): set trainer.visual_token_cache=false."
        )
    return flat


def _leaves(name: str, value: Any) -> dict[str, Tensor]:
    """Tensors by name. The parts of a clip, such as groups of its frames, are joined; other lists are of levels."""
    if isinstance(value, Tensor):
        return {name: value}
    if name.endswith(".pooler_output") or name.count(".") > 1:
        return {f"{name}.0": torch.cat([part.reshape(-1, part.shape[-1]) for part in value])}
    found: dict[str, Tensor] = {}
    for number, entry in enumerate(value):
        found |= _leaves(f"{name}.{number}", entry)
    return found


def without_tensors(features: Features) -> Features:
    """Features of the same kinds that hold no tensors, only what is the same for all clips, such as empty lists."""
    found: Features = {}
    for modality, output in features.items():
        found[modality] = type(output)()
        for name, value in output.items():
            setattr(found[modality], name, value if isinstance(value, (list, tuple)) and not value else None)
    return found


def restored(
    tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype, like: Features | None = None
) -> Features:
    """The inverse of `flattened`, as the model's `forward` reads it.

    Args:
        like: `without_tensors` of features of such a clip.
    """
    tree: dict[str, Any] = {}
    for path, value in tensors.items():
        *folders, leaf = path.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = value.to(device, dtype)
    features: Features = {}
    for modality, fields in tree.items():
        features[modality] = copy.copy(like[modality]) if like else BaseModelOutputWithPooling()
        for name, value in fields.items():
            setattr(features[modality], name, _sequence(value))
    return features


def _sequence(value: Any) -> Any:
    """Tensors of a clip as the model's lists. A tensor that was no list of clips keeps a dimension for clips."""
    if isinstance(value, Tensor):
        return value[None]
    return tuple(
        entry if isinstance(entry, Tensor) else _sequence(entry)
        for _, entry in sorted(value.items(), key=lambda item: int(item[0]))
    )
