from dataclasses import replace

import numpy as np
import pytest

from benchmarks.statistics.studies import Design, draw
from sg.report.numbers.estimates import (
    ArmScore,
    Estimate,
    SeedNoise,
    accuracy,
    arm_score,
    difference,
    joint_p,
    seed_noise,
    spread,
)

VIDEOS = np.repeat(np.arange(60), 3)


def _answers(seed: int, level: float = 0.5, seeds: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    per_video = np.repeat(generator.normal(0, 0.25, 60), 3)
    return (generator.random((seeds, 180)) < np.clip(level + per_video, 0, 1)).astype(float)


def _sample(answers: np.ndarray, videos: np.ndarray = VIDEOS) -> ArmScore:
    found = arm_score(answers, videos)
    assert found is not None
    return found


def _difference(arm: ArmScore, other: ArmScore, noise: SeedNoise | None = None) -> Estimate:
    found = difference(arm, other, noise)
    assert found is not None
    return found


def test_a_difference_is_over_the_seeds_that_both_arms_have() -> None:
    new, base = _answers(1, 0.6, seeds=3), _answers(2, 0.5, seeds=2)
    found = _difference(_sample(new), _sample(base))
    assert found.value == pytest.approx(100 * (new[:2] - base).mean())
    assert found.seeds == [0, 1]
    assert found.covers_seeds


def test_a_seed_of_one_arm_only_changes_no_difference() -> None:
    """Seed 3 is a good one for both arms, but only the larger arm has it."""
    new, base = _answers(1, 0.55, seeds=4), _answers(2, 0.5, seeds=3)
    new[3] = 1.0
    seeds = (0, 1, 2, 3)
    whole = arm_score(new, VIDEOS, seeds)
    assert whole is not None
    assert _difference(whole, _sample(base)) == _difference(_sample(new[:3]), _sample(base))


def test_arms_without_a_common_seed_have_no_difference() -> None:
    new, base = arm_score(_answers(1), VIDEOS, (0,)), arm_score(_answers(2), VIDEOS, (1,))
    assert new is not None and base is not None
    assert difference(new, base) is None


def test_one_seed_covers_videos_only_and_more_seeds_cover_training_too() -> None:
    one = _difference(_sample(_answers(1)), _sample(_answers(2)))
    assert not one.covers_seeds and one.df == 59
    three = _difference(_sample(_answers(1, seeds=3)), _sample(_answers(2, seeds=3)))
    assert three.covers_seeds


def test_seeds_that_differ_by_more_than_their_questions_widen_the_interval() -> None:
    rows = _answers(1, 0.5, seeds=4)
    noisy = rows.copy()
    for seed, share in enumerate((0.0, 0.35, 0.0, 0.35)):  # two of four runs fail on a third of the questions
        noisy[seed, np.random.default_rng(seed).random(180) < share] = 0.0
    base = _answers(2, 0.5, seeds=4)
    quiet, loud = _difference(_sample(rows), _sample(base)), _difference(_sample(noisy), _sample(base))
    assert loud.high - loud.low > 1.5 * (quiet.high - quiet.low)


def test_equal_arms_have_no_interval_whatever_the_noise_of_the_study() -> None:
    """Satterthwaite's formula fell to 0 here, and the interval was ± 1e28."""
    same = _difference(_sample(_answers(1, seeds=3)), _sample(_answers(1, seeds=3)), SeedNoise(1e-4, 1e-6, 8))
    assert same.value == 0 and not same.has_interval and same.p is None


def test_nearly_equal_arms_have_an_interval_of_at_least_one_degree_of_freedom() -> None:
    rows = _answers(1, seeds=3)
    changed = rows.copy()
    changed[0, 0] = 1 - changed[0, 0]
    found = _difference(_sample(changed), _sample(rows), SeedNoise(1e-4, 1e-8, 8))
    assert found.df == 1
    assert found.high - found.low < 2 * 12.8 * found.standard_error


def test_one_video_has_no_interval_although_seeds_differ() -> None:
    videos = np.zeros(3, dtype=np.int64)
    new, base = (arm_score(np.array(rows, dtype=float), videos) for rows in ([[1, 1, 0], [1, 1, 1]], [[0, 1, 0]] * 2))
    assert new is not None and base is not None
    found = difference(new, base, SeedNoise(0.02, 0.02, 8))
    assert found is not None and not found.has_interval


def test_the_seed_noise_of_many_arms_is_that_of_their_runs() -> None:
    """Arms and seeds may differ in any way; the noise of single runs is found without the effect of the questions."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(60):
        level = (
            0.5 + generator.normal(0, 0.05, (6, 1)) + generator.normal(0, 0.03, 4) + generator.normal(0, 0.04, (6, 4))
        )
        arms = [_sample((generator.random((4, 180)) < row[:, None]).astype(float)) for row in level]
        noise = seed_noise(arms)
        assert noise is not None and noise.df == 15
        found.append(noise.excess)
    # 60 estimates with a standard deviation of about .0012 each; the variance of a question of 180 is .0014
    assert np.mean(found) == pytest.approx(0.04**2, abs=0.0005)


def test_the_interval_uses_the_noise_of_the_whole_study() -> None:
    new, base = _sample(_answers(1, seeds=1)), _sample(_answers(2, seeds=1))
    alone, pooled = _difference(new, base), _difference(new, base, SeedNoise(0.01, 0.008, 12))
    assert not alone.covers_seeds and pooled.covers_seeds
    assert pooled.standard_error == pytest.approx(np.sqrt(alone.standard_error**2 + 2 * 0.008 * 100**2))


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 2.0), (5, 1.0)])
def test_intervals_over_videos_and_seeds_cover_the_truth(seeds: int, seed_sd: float) -> None:
    """A small version of `benchmarks/statistics/coverage.py`, whose README has the whole table."""
    design = Design(((*range(seeds), 7, 8), tuple(range(seeds))), seed_sd, videos=300)
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(300):
        arms = draw(design, generator)
        found = _difference(*arms)
        hits.append(found.low <= 0 <= found.high)
    assert 0.915 <= np.mean(hits) <= 0.99  # 95 % less three standard errors of 300 studies


def test_an_unanswered_question_leaves_numerator_and_denominator() -> None:
    answers = np.array([[1.0, np.nan, 0.0, 1.0, np.nan, 1.0]])
    assert accuracy(_sample(answers, np.array([0, 0, 0, 1, 1, 1]))).value == pytest.approx(75.0)


def test_without_any_answer_there_is_no_score() -> None:
    assert arm_score(np.full((1, 6), np.nan), np.zeros(6, dtype=int)) is None
    assert arm_score(np.empty((0, 6)), np.zeros(6, dtype=int)) is None


def test_identical_answers_have_difference_zero_and_no_interval() -> None:
    answers = _sample(_answers(3))
    same = _difference(answers, answers)
    assert (same.value, same.has_interval, same.p) == (0, False, None)
    assert not same.is_positive and not same.is_negative


def test_the_joint_test_of_two_arms_is_the_test_of_their_difference() -> None:
    first, second = _sample(_answers(1, 0.5)), _sample(_answers(1, 0.6))
    assert joint_p([first, second]) == pytest.approx(_difference(second, first).p)


def test_the_joint_test_detects_one_different_arm() -> None:
    arms = [_sample(_answers(1, level)) for level in (0.4, 0.41, 0.7)]
    alike = [_sample(_answers(seed, 0.5)) for seed in (1, 1, 1)]
    found, none = joint_p(arms), joint_p(alike)
    assert found is not None and found < 0.001
    assert none is not None and none > 0.05
    assert joint_p(arms[:1]) is None


def test_the_interval_covers_the_truth_when_questions_of_a_video_are_correlated() -> None:
    generator = np.random.default_rng(0)
    videos = np.repeat(np.arange(100), 3)
    covered = 0
    for _ in range(300):
        together = np.repeat(generator.normal(0, 0.3, 100), 3) + generator.normal(0, 0.3, 300)
        arm = ArmScore((0,), np.zeros(1), (together - together.mean())[None] / 300, videos)
        estimate = accuracy(arm)
        covered += estimate.low <= -100 * together.mean() <= estimate.high
    assert 0.91 <= covered / 300 <= 0.985  # 95 % +- 3 standard errors of 300 draws


@pytest.mark.parametrize("videos", [[0, 0, 0], [0, 1, 2]])
def test_one_video_and_videos_without_any_variance_carry_no_interval(videos: list[int]) -> None:
    numbers = np.array(videos)
    only = _difference(_sample(np.ones((1, 3)), numbers), _sample(np.zeros((1, 3)), numbers))
    assert (only.value, only.has_interval, only.p) == (100, False, None)
    assert not only.is_positive
    assert not accuracy(_sample(np.ones((1, 3)), numbers)).has_interval


def test_a_metric_with_its_own_unit_is_not_in_percent() -> None:
    losses = np.random.default_rng(0).normal(1.5, 0.3, (2, 180))
    new, base = (arm_score(values, VIDEOS, unit=1.0) for values in (losses, losses + 0.15))
    assert new is not None and base is not None
    assert new.value == pytest.approx(1.5, abs=0.05)
    noisy = arm_score(losses + 0.15 + np.random.default_rng(1).normal(0, 0.1, (2, 180)), VIDEOS, unit=1.0)
    assert noisy is not None
    found = _difference(new, noisy)
    assert found.value == pytest.approx(-0.15, abs=0.03) and found.is_negative


def test_the_bound_of_equivalence_and_the_detectable_difference_follow_from_the_interval() -> None:
    estimate = Estimate(0.4, 0.4 - 1.96, 0.4 + 1.96, 1.0, 0.69)
    assert estimate.largest_size == pytest.approx(0.4 + 1.645, abs=0.001)
    assert estimate.detectable == pytest.approx(2.80, abs=0.01)
    assert replace(estimate, df=2).detectable == pytest.approx(4.303 + 1.061, abs=0.001)


def test_the_spread_needs_two_seeds() -> None:
    assert spread([40.0]) is None
    assert spread([40.0, 42.0]) == pytest.approx(2**0.5)
