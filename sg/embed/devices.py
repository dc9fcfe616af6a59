"""Where a model runs, and in which numbers."""

from __future__ import annotations

import torch

from sg.core.errors import ConfigError


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"embedder.device={name!r} is no device: expected auto, cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"embedder.device={name}, but torch sees no GPU here: use embedder.device=cpu.")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type of that name; `auto` is bfloat16 on a GPU and float32 on a CPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtype: torch.dtype = getattr(torch, name)
    return dtype
