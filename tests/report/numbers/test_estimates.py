import numpy as np
import pytest

from sg.report.numbers.estimates import ArmScore, accuracy, arm_score, difference, joint_p, spread
from sg.report.numbers.statistics import accuracy_summary, clustered_difference

VIDEOS = np.repeat(np.arange(60), 3)


def _answers(seed: int, level: float = 0.5, seeds: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    per_video = np.repeat(generator.normal(0, 0.25, 60), 3)
    return (generator.random((seeds, 180)) < np.clip(level + per_video, 0, 1)).astype(float)


def _sample(answers: np.ndarray, videos: np.ndarray = VIDEOS) -> ArmScore:
    found = arm_score(answers, videos)
    assert found is not None
    return found


def test_one_run_agrees_with_the_clustered_accuracy() -> None:
    answers = _answers(1)
    ours, theirs = accuracy(_sample(answers)), accuracy_summary(answers[0], VIDEOS)
    assert ours.value == pytest.approx(100 * theirs.accuracy)
    assert ours.standard_error == pytest.approx(100 * theirs.standard_error)


def test_a_difference_of_two_runs_agrees_with_the_clustered_t() -> None:
    new, base = _answers(1, 0.6), _answers(1, 0.5)
    ours, theirs = difference(_sample(new), _sample(base)), clustered_difference(new[0] - base[0], VIDEOS)
    assert ours.value == pytest.approx(100 * theirs.difference)
    assert (ours.low, ours.high) == pytest.approx((100 * theirs.interval.low, 100 * theirs.interval.high))
    assert ours.p == pytest.approx(theirs.p)


def test_seeds_are_averaged_question_by_question() -> None:
    new, base = _answers(1, 0.6, seeds=3), _answers(2, 0.5, seeds=2)
    ours = difference(_sample(new), _sample(base))
    theirs = clustered_difference(new.mean(axis=0) - base.mean(axis=0), VIDEOS)
    assert ours.value == pytest.approx(100 * theirs.difference)
    assert ours.standard_error == pytest.approx(100 * theirs.standard_error)


def test_an_unanswered_question_leaves_numerator_and_denominator() -> None:
    answers = np.array([[1.0, np.nan, 0.0, 1.0, np.nan, 1.0]])
    assert accuracy(_sample(answers, np.array([0, 0, 0, 1, 1, 1]))).value == pytest.approx(75.0)


def test_without_any_answer_there_is_no_score() -> None:
    assert arm_score(np.full((1, 6), np.nan), np.zeros(6, dtype=int)) is None
    assert arm_score(np.empty((0, 6)), np.zeros(6, dtype=int)) is None


def test_identical_answers_have_difference_zero() -> None:
    answers = _sample(_answers(3))
    same = difference(answers, answers)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_the_joint_test_of_two_arms_is_the_test_of_their_difference() -> None:
    first, second = _sample(_answers(1, 0.5)), _sample(_answers(1, 0.6))
    assert joint_p([first, second]) == pytest.approx(difference(second, first).p)


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
        arm = ArmScore(0.0, (together - together.mean()) / 300, videos)
        estimate = accuracy(arm)
        covered += estimate.low <= -100 * together.mean() <= estimate.high
    assert 0.91 <= covered / 300 <= 0.985  # 95 % +- 3 standard errors of 300 draws


def test_one_video_has_the_widest_interval() -> None:
    only = difference(
        _sample(np.ones((1, 3)), np.zeros(3, dtype=int)), _sample(np.zeros((1, 3)), np.zeros(3, dtype=int))
    )
    assert (only.low, only.high, only.p) == (-100, 100, 1)


def test_the_spread_needs_two_seeds() -> None:
    assert spread([40.0]) is None
    assert spread([40.0, 42.0]) == pytest.approx(2**0.5)
