"""Muon for the inner weight matrices, AdamW for all other weights: the fastest recipe of those that were tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

WARMUP_STEPS = 60
FINAL_FRACTION = 0.02


class MuonAdamW:
    """Steps two optimisers under one learning rate: linear warm-up, then cosine to 2 % of the peak.

    Args:
        modules: the networks to train.
        learning_rate: peak rate of Muon; None leaves all weights to AdamW, which is faster for large matrices.
        other_learning_rate: peak rate of AdamW.
        total_steps: length of the schedule.
    """

    def __init__(
        self,
        *modules: nn.Module,
        learning_rate: float | None,
        other_learning_rate: float,
        total_steps: int,
        weight_decay: float = 0.01,
    ) -> None:
        import torch

        named = [item for module in modules for item in module.named_parameters() if item[1].requires_grad]
        self.parameters: list[Tensor] = [parameter for _, parameter in named]
        inner = [p for name, p in named if p.ndim == 2 and "embed" not in name and "head" not in name]
        inner = inner if learning_rate is not None else []
        inner_ids = {id(p) for p in inner}
        outer = [p for p in self.parameters if id(p) not in inner_ids]
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(outer, lr=other_learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
        ]
        self._peaks, self._total, self._done = [other_learning_rate], total_steps, 0
        if learning_rate is not None:
            muon = torch.optim.Muon(
                inner, lr=learning_rate, momentum=0.95, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
            self._optimisers.append(muon)
            self._peaks.append(learning_rate)

    def step(self, loss: Tensor) -> None:
        """One optimisation step down the gradient of `loss`, clipped to norm 1."""
        import torch

        fraction = self._fraction()
        for optimiser, peak in zip(self._optimisers, self._peaks, strict=True):
            optimiser.zero_grad(set_to_none=True)
            for group in optimiser.param_groups:
                group["lr"] = peak * fraction
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser in self._optimisers:
            optimiser.step()
        self._done += 1

    def _fraction(self) -> float:
        warm = min(1.0, (self._done + 1) / WARMUP_STEPS)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self._done / self._total)))
        return warm * (FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine)
