import numpy as np
import pytest

from benchmarks.statistics.power import simulated_resolution
from benchmarks.statistics.studies import Design, draw
from sg.core.errors import ConfigError
from sg.report.numbers.estimates import seed_noise
from sg.report.numbers.power import (
    LONG_VIDEO_BENCH,
    VIDEO_MME,
    ArmsPrice,
    Assumptions,
    assumed_noise,
    cheapest_design,
    measured_noise,
    power_of,
    questions_needed,
    resolution,
    split_noise,
)

NOISE = assumed_noise([VIDEO_MME], Assumptions())


@pytest.mark.parametrize(("seeds", "points"), [(1, 2.7), (3, 1.8), (5, 1.6), (10, 1.4)])
def test_video_mme_resolves_these_differences_with_so_many_seeds(seeds: int, points: float) -> None:
    found = resolution(NOISE, seeds, arms=7)
    assert found is not None and round(found, 1) == points


def test_the_published_gain_had_a_power_of_30_percent_with_one_seed() -> None:
    found = power_of(1.4, NOISE, seeds=1, arms=7)
    assert found is not None and round(found, 1) == 0.3


@pytest.mark.parametrize(("arms", "seeds", "seed_sd"), [(7, 1, 0.0), (7, 3, 0.0), (2, 5, 0.0), (7, 3, 1.0)])
def test_the_calculation_agrees_with_simulated_studies(arms: int, seeds: int, seed_sd: float) -> None:
    """A small version of `benchmarks/statistics/power.py`, which simulates more studies and agrees within .1."""
    calculated = resolution(assumed_noise([VIDEO_MME], Assumptions(seed_sd=seed_sd)), seeds, arms)
    simulated = simulated_resolution(arms, seeds, seed_sd, studies=60 if arms == 7 else 300)
    assert calculated == pytest.approx(simulated, rel=0.12)


def test_one_seed_cannot_resolve_anything_where_training_has_noise() -> None:
    noise = assumed_noise([VIDEO_MME], Assumptions(seed_sd=1.0))
    assert resolution(noise, 1, arms=7) is None and power_of(5.0, noise, 1, arms=7) is None
    found = resolution(noise, 3, arms=7)
    assert found is not None and found == pytest.approx(3.1, abs=0.1)


def test_the_power_at_the_resolution_is_80_percent() -> None:
    for seeds, arms in ((1, 2), (3, 2), (3, 7)):
        points = resolution(NOISE, seeds, arms)
        assert points is not None
        assert power_of(points, NOISE, seeds, arms) == pytest.approx(0.8, abs=0.001)


def test_the_cheapest_design_has_the_fewest_hours_that_suffice() -> None:
    both = assumed_noise([VIDEO_MME, LONG_VIDEO_BENCH], Assumptions())
    noises = {("video_mme",): NOISE, ("video_mme", "longvideobench"): both}
    found = cheapest_design(noises, 1.5, [ArmsPrice(2, 60.0), ArmsPrice(7, 200.0)])
    assert found is not None and found.points <= 1.5 and found.benchmarks == ("video_mme", "longvideobench")
    fewer = resolution(both, found.seeds - 1, found.arms)
    assert fewer is not None and fewer > 1.5
    assert found.hours == found.seeds * (60.0 if found.arms == 2 else 200.0)
    assert cheapest_design({("video_mme",): NOISE}, 0.6, [ArmsPrice(2)]) is None
    questions = questions_needed(NOISE, 2700, seeds=5, arms=7, wanted_points=0.6)
    assert questions is not None and questions == pytest.approx(2700 * (1.575 / 0.6) ** 2, rel=0.02)


def test_the_noise_of_a_study_is_measured_after_two_seeds() -> None:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(12):
        arms = draw(Design(((0, 1, 2),) * 5, 1.0), generator)
        noise = seed_noise(arms)
        assert noise is not None
        found += [measured_noise(arms[0], other, noise) for other in arms[1:]]
    truth = assumed_noise([VIDEO_MME], Assumptions(seed_sd=1.0))
    assert np.mean([item.persistent for item in found]) == pytest.approx(truth.persistent, rel=0.3)
    assert np.mean([item.items for item in found]) == pytest.approx(truth.items, rel=0.1)
    assert np.mean([item.seeds for item in found]) == pytest.approx(truth.seeds, rel=0.3)


def test_one_seed_shows_the_sum_and_the_split_is_assumed() -> None:
    arms = draw(Design(((0,), (0,))), np.random.default_rng(1))
    found = split_noise(arms[0], arms[1], Assumptions())
    assert found.persistent + found.items == pytest.approx(NOISE.persistent + NOISE.items, rel=0.15)
    assert found.items / (found.persistent + found.items) == pytest.approx(0.18 / 0.22)


@pytest.mark.parametrize("values", [{"disagreement": 0.1}, {"correlation": 1.5}, {"seed_sd": -1.0}])
def test_impossible_assumptions_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Assumptions(**values)
