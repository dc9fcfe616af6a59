"""Checks of model folders by strangers, before transformers reads them: no code, known attention, honest sizes."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sg.core.errors import ModelError

log = logging.getLogger(__name__)

ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flex_attention")
"""Values of `attn_implementation` that a config may choose. transformers downloads other names as code from the hub."""

_WEIGHT_SUFFIXES = (".safetensors", ".bin")
_PARAMETERS_PER_BYTE = 2  # weights in 4 bits
_BYTES_PER_LAYER = 1000  # far below that of any layer


def check_config(config: Mapping[str, Any], label: str) -> None:
    """Refuse a `config.json` that asks for code from elsewhere; log one sentence if the model comes with code.

    Raises:
        ModelError: it names an unknown implementation.
    """
    for key, value in _entries(config):
        if key == "auto_map" and value:
            log.warning("%s brings code of its own (auto_map), which is never run.", label)
        if key.strip("_") in ("attn_implementation", "experts_implementation"):
            for chosen in value.values() if isinstance(value, Mapping) else [value]:
                if chosen is not None and chosen not in ATTENTIONS:
                    raise ModelError(
                        f"{label} has {key}={chosen!r} in its config.json, expected one of {', '.join(ATTENTIONS)}: "
                        "other names are code from the hub, which is never run."
                    )


def check_size(build: Callable[[], nn.Module], config: Mapping[str, Any], folder: Path, label: str) -> None:
    """Compare the model of a config with the size of the weight files in `folder`, before any memory is used.

    Args:
        build: makes the model; it is called on PyTorch's meta device.

    Raises:
        ModelError: the model cannot be built, or has far more weights than the files can hold.
    """
    num_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in _WEIGHT_SUFFIXES)
    check_layers(config, num_bytes // _BYTES_PER_LAYER, label)
    try:
        with torch.device("meta"):
            parameters = sum(value.numel() for value in build().parameters())
    except Exception as error:  # a stranger's config can break the building of a model in any way
        reason = (str(error).splitlines() or [""])[0]
        raise ModelError(f"{label} has a config.json that does not describe a model that can be built: {reason}") from (
            error
        )
    if parameters > _PARAMETERS_PER_BYTE * num_bytes:
        raise ModelError(
            f"{label} has {parameters:,} weights by its config.json, but its weight files have only {num_bytes:,} "
            "bytes: download it again, or do not trust it."
        )


def check_layers(config: Mapping[str, Any], most: int, label: str) -> None:
    """Refuse a config with more layers than the files can hold: building them would take hours.

    Raises:
        ModelError: there are more than `most`.
    """
    counts = [
        value for key, value in _entries(config) if ("layers" in key or key == "depth") and isinstance(value, int)
    ]
    layers = max(counts, default=0)
    if layers > most:
        raise ModelError(
            f"{label} has {layers:,} layers by its config.json, but its weight files are far too small for them: "
            "download it again, or do not trust it."
        )


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All keys and values of a config, those of its parts too."""
    for key, value in config.items():
        yield str(key), value
        if isinstance(value, Mapping):
            yield from _entries(value)
