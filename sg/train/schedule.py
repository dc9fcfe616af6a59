"""Learning-rate schedules: the share of the peak rate at each optimiser step.

Every schedule begins with a linear warm-up from 0 (`warmup_fraction` of all steps). The warm-up leaves at least the
last step at the peak rate; otherwise a stage of one step would train at rate 0. The `schedule` of a stage, such as
`stage.caption.schedule`, chooses the rest. Add a schedule as a function here and an entry in `SCHEDULES`.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

Decay = Callable[[float], float]
"""Maps progress after the warm-up (0 at its end, 1 after the last step) to the share of the peak rate."""


def _cosine(progress: float) -> float:
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def _linear(progress: float) -> float:
    return max(0.0, 1.0 - progress)


def _constant(progress: float) -> float:
    return 1.0


SCHEDULES: Mapping[str, Decay] = MappingProxyType({"cosine": _cosine, "linear": _linear, "constant": _constant})
"""Decay after the warm-up, by the `schedule` of the stage; Chat-UniVi trains with `cosine`."""


def learning_rate_factor(schedule: str, step: int, total_steps: int, warmup_fraction: float) -> float:
    """The share of the peak rate at optimiser step `step` (the first step is 0).

    Args:
        schedule: a key of `SCHEDULES`.
        total_steps: optimiser steps of the stage.
        warmup_fraction: share of the steps in which the rate rises linearly from 0 to its peak, in [0, 1).
    """
    warmup = min(math.ceil(warmup_fraction * total_steps), total_steps - 1)
    if step < warmup:
        return step / warmup
    return SCHEDULES[schedule]((step - warmup) / max(1, total_steps - warmup))
