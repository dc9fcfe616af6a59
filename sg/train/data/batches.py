"""Which samples a stage sees in which step; pure functions of the number of samples, their lengths and a seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Samples are sorted by length inside windows of this many batches: a compromise between padding and shuffling.
WINDOW_BATCHES = 8


def sample_order(num_samples: int, num_draws: int, seed: int) -> NDArray[np.int64]:
    """Sample indices in training order, int64 [num_draws]: shuffled passes, one after another.

    Every sample occurs floor or ceil of `num_draws / num_samples` times.
    """
    if num_samples == 0:
        return np.zeros(0, dtype=np.int64)
    generator = np.random.default_rng(seed)
    passes = [generator.permutation(num_samples) for _ in range(math.ceil(num_draws / num_samples))]
    return np.concatenate(passes)[:num_draws].astype(np.int64) if passes else np.zeros(0, dtype=np.int64)


def batch_plan(
    order: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, seed: int, group_by_length: bool
) -> list[NDArray[np.int64]]:
    """The batches of a stage, each an int64 array of sample indices; the last one may be smaller.

    Args:
        order: sample indices in training order, [draws].
        lengths: ids of every sample, [samples].
        group_by_length: sort windows of `WINDOW_BATCHES` batches by length and shuffle the batches of a window.
    """
    if not group_by_length:
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    generator = np.random.default_rng(seed)
    batches: list[NDArray[np.int64]] = []
    window = batch_size * WINDOW_BATCHES
    for start in range(0, len(order), window):
        drawn = order[start : start + window]
        by_length = drawn[np.argsort(lengths[drawn], kind="stable")]
        chunks = [by_length[at : at + batch_size] for at in range(0, len(by_length), batch_size)]
        batches.extend(chunks[index] for index in generator.permutation(len(chunks)))
    return batches


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Samples of one forward pass on one device, and the weight of the mean over their tokens in the step's loss."""

    samples: NDArray[np.int64]
    share: float


def micro_batch_plan(
    batches: Sequence[NDArray[np.int64]],
    supervised: NDArray[np.int64],
    micro_batch: int,
    loss_samples: int,
    per_step: int,
) -> list[MicroBatch]:
    """`batches` divided into micro-batches, `per_step` of them for every optimiser step, in training order.

    The loss of a step is the mean, over groups of `loss_samples` samples, of the mean over a group's supervised tokens.
    Chat-UniVi's eight devices with 16 samples each compute the same; here it holds for any number of devices and any
    micro-batch. The shares of a step add up to 1, minus the shares of groups without supervised tokens.

    Args:
        supervised: supervised tokens of every sample, [samples].
        micro_batch: a divisor of `loss_samples`, or of the batch if that is smaller.
        per_step: devices times accumulated passes; a smaller last batch is filled with repetitions of share 0, so that
            every device takes part in every step.
    """
    plan: list[MicroBatch] = []
    for batch in batches:
        groups = [batch[start : start + loss_samples] for start in range(0, len(batch), loss_samples)]
        step: list[MicroBatch] = []
        for group in groups:
            whole = int(supervised[group].sum()) * len(groups)
            for start in range(0, len(group), micro_batch):
                samples = group[start : start + micro_batch]
                step.append(MicroBatch(samples, int(supervised[samples].sum()) / whole if whole else 0.0))
        step += [MicroBatch(step[0].samples, 0.0)] * (per_step - len(step))
        plan += step
    return plan
