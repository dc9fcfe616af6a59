"""The check of a trained stage: it has to change the weights that it trains, and to leave them finite."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sg.core.errors import ModelError
from sg.train.config import StageConfig


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of `model` that are trained, by name."""
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}


def weight_sums(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, int]:
    """For each of the weights the sum of its bits in `dtype`, read as integers: a copy would double the memory."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    return {name: int(value.to(dtype).view(integers).sum(dtype=torch.int64)) for name, value in weights.items()}


def check_outcome(
    stage: StageConfig, weights: Mapping[str, Tensor], before: Mapping[str, int], dtype: torch.dtype
) -> None:
    """Compare the trained `weights` with the sums of those that the stage started from, in the `dtype` of its file.

    Raises:
        ModelError: no weight has changed, or one is not a finite number.
    """
    infinite = next((name for name, value in weights.items() if not bool(value.isfinite().all())), None)
    if infinite is not None:
        raise ModelError(
            f"Stage {stage.name} diverged: {infinite} holds NaN or infinite values; lower "
            f"stage.{stage.name}.learning_rate={stage.learning_rate:g}."
        )
    if weight_sums(weights, dtype) == before:
        raise ModelError(
            f"Stage {stage.name} changed no weight in {str(dtype).removeprefix('torch.')}: raise "
            f"stage.{stage.name}.learning_rate={stage.learning_rate:g}, or use model.dtype=float32."
        )
