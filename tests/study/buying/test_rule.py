"""When the next core is worth its money."""

from __future__ import annotations

import numpy as np
import pytest

from sg.study.buying.rule import forecast


def curve(captions: list[int], beta: float, noise: float, seed: int = 0) -> tuple[list[list[float]], list[int]]:
    """Losses of 150 captions that fall as 1 + captions ** -beta, in nats, with noise of their own in every core."""
    draw = np.random.default_rng(seed)
    tokens, hard = draw.integers(10, 30, 150), draw.normal(0, 0.3, 150)
    losses = [tokens * (1 + 5 * n**-beta + hard + draw.normal(0, noise, 150)) for n in captions]
    return [loss.tolist() for loss in losses], tokens.tolist()


def test_a_power_law_is_continued_exactly() -> None:
    nats, tokens = curve([50, 100, 200], 0.5, 0.0)
    found = forecast([50, 100, 200], nats, tokens, 400, usd=2.0, wanted=0.01)
    assert found.gain == pytest.approx(5 * (200**-0.5 - 400**-0.5)) and found.low == pytest.approx(found.gain)
    assert found.is_worth_it == (found.gain >= 0.02) is True
    assert not forecast([50, 100, 200], nats, tokens, 400, usd=200.0, wanted=0.01).is_worth_it
    half = forecast([50, 100, 200], nats, tokens, 283, usd=1.0, wanted=0.01)
    assert half.gain == pytest.approx(found.gain / 2, rel=0.01), "half a doubling"


def test_the_interval_contains_the_next_gain_of_noisy_curves() -> None:
    inside = 0
    for seed in range(40):
        nats, tokens = curve([50, 100, 200], 0.5, 0.05, seed)
        found = forecast([50, 100, 200], nats, tokens, 400, usd=1.0, wanted=0.1)
        assert found.low <= found.gain <= found.high
        inside += found.low <= 5 * (200**-0.5 - 400**-0.5) <= found.high
    assert inside >= 34


def test_two_cores_predict_the_same_gain_again_and_a_rise_predicts_none() -> None:
    nats, tokens = curve([50, 100], 0.5, 0.0)
    assert forecast([50, 100], nats, tokens, 200, 1.0, 0.1).gain == pytest.approx(5 * (50**-0.5 - 100**-0.5))
    nats.append([one + 1.0 for one in nats[-1]])
    found = forecast([50, 100, 200], nats, tokens, 400, 1.0, 0.1)
    assert found.gain == 0.0 and not found.is_worth_it and "does not reach 0.1 per dollar" in found.text
