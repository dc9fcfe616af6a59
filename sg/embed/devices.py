"""The device and the data type in which a model computes."""

from __future__ import annotations

import torch

from sg.core.errors import ConfigError
from sg.embed.settings import EmbedderConfig


def use_device(config: EmbedderConfig) -> torch.device:
    """The device of an embedder; sets the number of CPU threads of this process, too."""
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    return pick_device(config.device)


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one.

    Raises:
        ConfigError: the name is unknown, or torch finds no GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"embedder.device={name!r} is not a device: expected auto, cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"embedder.device={name}, but torch finds no GPU here: use embedder.device=cpu.")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type of that name; `auto` is bfloat16 on a GPU and float32 on a CPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def dtype_name(name: str, device: str) -> str:
    """The name of the type that `pick_dtype` chooses on the device of that name: "float32", ..."""
    return str(pick_dtype(name, pick_device(device))).removeprefix("torch.")
