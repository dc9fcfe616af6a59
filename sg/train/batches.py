"""Which samples a stage sees in which step: pure functions of the number of samples, their lengths and a seed."""

import math

import numpy as np
from numpy.typing import NDArray

# Samples are sorted by length inside windows of this many batches, as a compromise between padding and shuffling.
WINDOW_BATCHES = 8


def sample_order(num_samples: int, num_draws: int, seed: int) -> NDArray[np.int64]:
    """Indices of the samples in training order: one shuffled pass after another until `num_draws` are drawn, int64.

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
    """The batches of a stage, each an array of sample indices; the last one may be smaller.

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


def learning_rate_factor(step: int, total_steps: int, warmup_fraction: float) -> float:
    """Share of the peak rate at optimiser step `step` (0 first): linear warm-up from 0, then cosine to 0."""
    warmup = math.ceil(warmup_fraction * total_steps)
    if step < warmup:
        return step / max(1, warmup)
    progress = (step - warmup) / max(1, total_steps - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
