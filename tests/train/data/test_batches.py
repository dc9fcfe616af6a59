from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.core.errors import ConfigError
from sg.train.config import StageConfig, micro_batches, num_steps
from sg.train.data.batches import batch_plan, micro_batch_plan, sample_order


@given(st.integers(1, 50), st.integers(0, 200), st.integers(0, 2**62))
def test_every_sample_is_seen_equally_often(num_samples: int, num_draws: int, seed: int) -> None:
    order = sample_order(num_samples, num_draws, seed)
    assert len(order) == num_draws
    counts = Counter(order.tolist())
    assert all(num_draws // num_samples <= counts[i] <= -(-num_draws // num_samples) for i in range(num_samples))


@given(st.integers(1, 300), st.integers(1, 20), st.booleans(), st.integers(0, 99))
def test_a_plan_holds_every_draw_once_in_batches_of_the_asked_size(
    num_samples: int, batch_size: int, group: bool, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 100, num_samples)
    plan = batch_plan(sample_order(num_samples, num_samples, seed), lengths, batch_size, seed, group)
    assert sorted(np.concatenate(plan).tolist()) == list(range(num_samples))
    assert len(plan) == num_steps(num_samples, batch_size)
    assert sum(len(batch) < batch_size for batch in plan) <= 1


def test_grouping_by_length_reduces_the_padding() -> None:
    lengths = np.random.default_rng(0).integers(10, 200, 640)
    order = sample_order(640, 640, 0)

    def padding(group: bool) -> int:
        return sum(int(lengths[b].max() * len(b) - lengths[b].sum()) for b in batch_plan(order, lengths, 16, 0, group))

    assert padding(True) < 0.4 * padding(False)


@given(st.integers(1, 100), st.sampled_from([(1, 8), (2, 4), (2, 8), (4, 2), (8, 2)]), st.integers(0, 99))
def test_the_samples_of_a_step_do_not_depend_on_devices_and_micro_batches(
    num_samples: int, machine: tuple[int, int], seed: int
) -> None:
    devices, micro = machine
    supervised = np.random.default_rng(seed).integers(0, 4, num_samples)
    batches = batch_plan(sample_order(num_samples, num_samples, seed), supervised, 16, seed, True)
    plan = micro_batch_plan(batches, supervised, micro, 8, 16 // micro)
    assert len(plan) == len(batches) * (16 // micro)
    assert (16 // micro) % devices == 0
    for step, batch in enumerate(batches):
        pieces = plan[step * (16 // micro) : (step + 1) * (16 // micro)]
        groups = [batch[start : start + 8] for start in range(0, len(batch), 8)]
        wanted = {int(i): 1 / supervised[g].sum() / len(groups) for g in groups if supervised[g].any() for i in g}
        found: dict[int, float] = {}
        for piece in pieces:
            tokens = int(supervised[piece.samples].sum())
            for sample in piece.samples:
                if piece.share > 0:
                    assert int(sample) not in found
                    found[int(sample)] = piece.share / tokens  # the weight of each of its tokens
        learnt = {sample for sample in wanted if supervised[sample]}
        assert {sample: found[sample] for sample in learnt} == pytest.approx({s: wanted[s] for s in learnt})
        assert sum(piece.share for piece in pieces) <= 1 + 1e-9


def test_the_global_batch_is_kept_whatever_the_number_of_devices() -> None:
    stage = StageConfig(name="caption", batch_size=128, micro_batch_size=16)
    assert micro_batches(stage, 1) == (16, 8)
    assert micro_batches(stage, 8) == (16, 1)
    assert micro_batches(stage, 16) == (8, 1)
    with pytest.raises(ConfigError, match="batch_size=128 cannot be split over 3 devices"):
        micro_batches(stage, 3)
