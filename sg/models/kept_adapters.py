"""Low-rank adapters (LoRA) beside the weights that they belong to, in peft's files, and their sum.

A checkpoint with a folder `adapters` is the model that its weights and the products of the adapters make together.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sg.core.errors import MissingInputError, ModelError

ADAPTERS = "adapters"
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."


def write_adapters(folder: Path, adapters: Mapping[str, tuple[Tensor, Tensor]], rank: int, alpha: float) -> None:
    """Write adapters as `PeftModel.from_pretrained(model, folder / "adapters")` reads them.

    Args:
        folder: of the checkpoint.
        adapters: by name of the linear layer the factors A [rank, in] and B [out, rank].
    """
    (folder / ADAPTERS).mkdir(exist_ok=True)
    factors = {name: dict(zip("AB", pair, strict=True)) for name, pair in adapters.items()}
    tensors = {
        f"{_PREFIX}{name}.lora_{side}.weight": value.detach().cpu().contiguous()
        for name, sides in factors.items()
        for side, value in sides.items()
    }
    save_file(tensors, folder / ADAPTERS / _WEIGHTS, metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "target_modules": sorted(adapters)}
    (folder / ADAPTERS / _CONFIG).write_text(json.dumps(config), encoding="utf-8")


@torch.no_grad()
def add_kept_adapters(model: nn.Module, folder: Path) -> None:
    """Add the products of the adapters in a checkpoint's folder to the weights of `model`, rounded once.

    Raises:
        MissingInputError: one of their files is missing.
        ModelError: they belong to another model.
    """
    path = folder / ADAPTERS
    if not path.is_dir():
        return
    if not (path / _CONFIG).is_file() or not (path / _WEIGHTS).is_file():
        raise MissingInputError(f"{path} should hold {_CONFIG} and {_WEIGHTS}: delete {folder} and train it again.")
    config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    tensors = load_file(path / _WEIGHTS)
    for name in config["target_modules"]:
        factor_a, factor_b = (tensors[f"{_PREFIX}{name}.lora_{side}.weight"].float() for side in "AB")
        try:
            weight = model.get_submodule(name).weight
        except AttributeError as error:
            raise ModelError(f"{path} has adapters of {name}, which the model beside it lacks.") from error
        assert isinstance(weight, Tensor)
        added = factor_b @ factor_a * (config["lora_alpha"] / config["r"])
        weight.copy_(weight.float() + added.to(weight.device))
