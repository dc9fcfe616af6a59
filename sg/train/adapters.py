"""Low-rank adapters (LoRA) on the language model, also over weights in 4 bits (QLoRA), and their merging."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn

from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.train.config import StageConfig

ADAPTER = "default"


def add_adapters(model: ChatUniViForConditionalGeneration, stage: StageConfig, seed: int) -> None:
    """Add adapters to all linear layers of the language model except its head; `seed` draws their initial weights."""
    from peft import LoraConfig, inject_adapter_in_model

    if stage.peft == "qlora":
        _hold_in_4_bits(model.model)
    targets = sorted(name for name, module in model.model.named_modules() if isinstance(module, nn.Linear))
    config = LoraConfig(
        r=stage.lora.rank,
        lora_alpha=stage.lora.alpha,
        lora_dropout=stage.lora.dropout,
        target_modules=targets,
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model.model, adapter_name=ADAPTER)
    model.lm_head.requires_grad_(False)


def leave_types_to_autocast(model: nn.Module) -> None:
    """Let adapters take inputs as they are.

    peft casts every input to float32, the type of the adapters' weights. Under autocast the product is rounded to
    bfloat16 anyway, so the copy costs memory and changes nothing.
    """
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False


def merge_adapters(
    model: ChatUniViForConditionalGeneration, load_base: Callable[[], ChatUniViForConditionalGeneration]
) -> ChatUniViForConditionalGeneration:
    """The model without adapters: their products are added to the weights in float32, and rounded once.

    The products belong to the weights that the stage started from. For weights in 4 bits these are no longer in memory,
    so `load_base` loads them again, and the trained connector is copied.
    """
    from peft.tuners.lora import LoraLayer

    layers: dict[str, Any] = {
        name: module for name, module in model.model.named_modules() if isinstance(module, LoraLayer)
    }
    in_4_bits = getattr(model.model, "is_loaded_in_4bit", False)
    merged = load_base() if in_4_bits else model
    for name, layer in layers.items():
        plain = merged.model.get_submodule(name) if in_4_bits else layer.get_base_layer()
        with torch.no_grad():
            product = layer.get_delta_weight(ADAPTER).float().to(plain.weight.device)
            plain.weight.copy_(plain.weight.float() + product)
        if not in_4_bits:
            _replace(merged.model, name, plain)
    if in_4_bits:
        merged.mm_projector.load_state_dict(model.mm_projector.state_dict())
    return merged


def _hold_in_4_bits(language_model: Any) -> None:
    """Replace the linear layers by bitsandbytes' NF4 layers, which compute in the original type of the weights."""
    bitsandbytes: Any = import_module("bitsandbytes")  # optional, therefore unknown to the type checker
    linear = {name: module for name, module in language_model.named_modules() if isinstance(module, nn.Linear)}
    for name, module in linear.items():
        held = bitsandbytes.nn.Linear4bit(
            module.in_features, module.out_features, bias=module.bias is not None,
            compute_dtype=module.weight.dtype, quant_type="nf4",
        )  # fmt: skip
        held.weight = bitsandbytes.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
        if module.bias is not None:
            held.bias = module.bias
        # Weights are packed when they are moved to their device.
        _replace(language_model, name, held.to(module.weight.device))
    language_model.is_loaded_in_4bit = True


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
