"""Low-rank adapters (LoRA) on parts of a model, also over weights in 4 bits (QLoRA), and their merging."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sg.models.student import Student, part_of
from sg.train.config import StageConfig
from sg.train.rehearsal.packed import PackedLinear

ADAPTER = "default"


def is_adapter(name: str) -> bool:
    """True for the name of an adapter's weight."""
    return ".lora_" in name


def add_adapters(student: Student, stage: StageConfig, seed: int) -> None:
    """Add adapters to all linear layers of the adapted parts except the head; `seed` draws their initial weights."""
    from peft import LoraConfig, inject_adapter_in_model

    model = student.module
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers'
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and part_of(student.parts, name) in stage.adapted
    }
    if stage.peft == "qlora":
        _hold_in_4_bits(model, linear)
    config = LoraConfig(
        r=stage.lora.rank,
        lora_alpha=stage.lora.alpha,
        lora_dropout=stage.lora.dropout,
        target_modules=sorted(f"model.{name}" for name in linear),
        bias="none",
    )
    # In a model of transformers, peft takes targets such as `gate_proj` for the experts of an old checkpoint. Ours are
    # modules as they are now, so it is given a module around the model.
    around: Any = nn.ModuleDict({"model": model})
    around.is_loaded_in_4bit = getattr(model, "is_loaded_in_4bit", False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, around, adapter_name=ADAPTER)


def leave_types_to_autocast(model: nn.Module) -> None:
    """Let adapters take inputs as they are.

    peft casts every input to float32, the type of the adapters' weights. Under autocast the product is rounded to
    bfloat16 anyway, so the copy costs memory and changes nothing.
    """
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False


def adapter_factors(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """By name of the linear layer the factors A [rank, in] and B [out, rank] of its adapter."""
    return {
        name: (layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight) for name, layer in _adapted_layers(model)
    }


def without_adapters(student: Student, load_base: Callable[[], Student], merge: bool = True) -> PreTrainedModel:
    """The model without adapters; `merge` adds their products to the weights in float32, and rounds once.

    The products belong to the weights that the stage started from. For weights in 4 bits these are no longer in memory,
    so `load_base` loads them again, and the weights that were trained without adapters are copied.
    """
    model = student.module
    in_4_bits = getattr(model, "is_loaded_in_4bit", False)
    whole = load_base().module if in_4_bits else model
    with torch.no_grad():
        for name, layer in _adapted_layers(model):
            plain: Any = whole.get_submodule(name) if in_4_bits else layer.get_base_layer()
            if merge:
                added = layer.get_delta_weight(ADAPTER).float().to(plain.weight.device)
                plain.weight.copy_(plain.weight.float() + added)
            if not in_4_bits:
                _replace(whole, name, plain)
        for name, value in model.named_parameters() if in_4_bits else ():
            if value.requires_grad and not is_adapter(name):
                whole.get_parameter(name).copy_(value)
    return whole


def _adapted_layers(model: nn.Module) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def _hold_in_4_bits(model: Any, linear: Mapping[str, nn.Linear]) -> None:
    """Replace the linear layers by bitsandbytes' NF4 layers, which compute in the original type of the weights."""
    model.is_loaded_in_4bit = True
    if all(module.weight.is_meta for module in linear.values()):  # a rehearsal
        for name, module in linear.items():
            _replace(model, name, PackedLinear(module))
        return
    bitsandbytes: Any = import_module("bitsandbytes")  # optional, therefore unknown to the type checker
    for name, module in linear.items():
        held = bitsandbytes.nn.Linear4bit(
            module.in_features, module.out_features, bias=module.bias is not None,
            compute_dtype=module.weight.dtype, quant_type="nf4",
        )  # fmt: skip
        held.weight = bitsandbytes.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
        if module.bias is not None:
            held.bias = module.bias
        # Weights are packed when they are moved to their device.
        _replace(model, name, held.to(module.weight.device))


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
