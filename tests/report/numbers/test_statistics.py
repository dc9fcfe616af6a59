import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.core.errors import DataError
from sg.report.numbers import statistics
from sg.report.numbers.estimates import ArmScore, accuracy, arm_score, difference

GOLDENS = Path(__file__).parents[2] / "goldens" / "video_mme"
GOLDEN: dict[str, Any] = json.loads((GOLDENS / "statistics.json").read_text())
SETS = GOLDEN["sets"]
VIDEOS = np.repeat(np.arange(900), 3)

# The goldens were computed by the same libraries in double precision.
close = pytest.approx


def score(values: np.ndarray) -> ArmScore:
    found = arm_score(values[None].astype(float), VIDEOS)
    assert found is not None
    return found


def answers(text: str) -> np.ndarray:
    return np.array([int(character) for character in text])


@pytest.mark.parametrize("item", SETS, ids=lambda item: item["name"])
@pytest.mark.parametrize("model", ["A", "B"])
def test_an_accuracy_has_the_golden_interval_and_errors(item: dict[str, Any], model: str) -> None:
    expected = item["expected"][model]
    wilson = statistics.wilson_interval(expected["correct"], 2700)
    assert [wilson.low, wilson.high] == close(expected["wilson95"], abs=1e-12)
    found, error = accuracy(score(answers(item[model]))), expected["se_cluster_G_over_Gm1"]
    assert found.value == close(100 * expected["correct"] / 2700)
    assert found.standard_error == close(100 * error, abs=1e-10) if error else not found.has_interval


@pytest.mark.parametrize("item", SETS, ids=lambda item: item["name"])
def test_a_paired_comparison_has_the_golden_table_and_tests(item: dict[str, Any]) -> None:
    expected = item["expected"]["paired"]
    found = statistics.mcnemar(answers(item["B"]), answers(item["A"]), VIDEOS)
    table = [found.both_right, found.only_base, found.only_new, found.both_wrong]
    assert table == [expected[key] for key in ("both_right", "only_A", "only_B", "both_wrong")]
    assert found.discordance == close(expected["discordance"])
    assert found.exact_p == close(expected["mcnemar_exact_p"], rel=1e-9)
    assert found.mid_p == close(expected["mcnemar_midp"], rel=1e-9)
    assert (found.chi2, found.chi2_p) == close((expected["mcnemar_chi2"], expected["mcnemar_chi2_p"]), rel=1e-9)
    clustered = (expected["cluster_mcnemar_chi2_durkalski"], expected["cluster_mcnemar_p"])
    assert (found.clustered_chi2, found.clustered_p) == close(clustered, rel=1e-9)


@pytest.mark.parametrize("item", SETS, ids=lambda item: item["name"])
def test_a_difference_has_the_golden_clustered_t_and_interval(item: dict[str, Any]) -> None:
    expected = item["expected"]["paired"]
    found = difference(score(answers(item["B"])), score(answers(item["A"])))
    assert found is not None and found.value == close(100 * expected["difference"], abs=1e-10)
    if not expected["se_diff_cluster_G_over_Gm1"]:
        assert not found.has_interval
        return
    assert found.standard_error == close(100 * expected["se_diff_cluster_G_over_Gm1"], abs=1e-10)
    assert found.value / found.standard_error == close(expected["cluster_t"], rel=1e-9)
    assert found.p == close(expected["cluster_t_p_df_G_minus_1"], rel=1e-9)
    assert [found.low, found.high] == close([100 * end for end in expected["cluster_ci95"]], abs=1e-10)


def test_the_bootstrap_over_videos_agrees_with_the_clustered_t_on_many_videos() -> None:
    item = next(item for item in SETS if item["name"] == "perfectly_clustered")
    found = statistics.bootstrap_over_videos(answers(item["B"]) - answers(item["A"]), VIDEOS)
    low, high = item["expected"]["paired"]["cluster_ci95"]
    # 10,000 resamples: the ends of the interval scatter by about 2 % of its width.
    assert [found.low, found.high] == close([low, high], abs=0.002)


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    differences = np.tile([1, 0, 0, -1, 1], 60)
    one, two = (statistics.bootstrap_over_videos(differences, np.repeat(np.arange(100), 3)) for _ in range(2))
    assert one == two


def test_videos_may_have_different_numbers_of_questions() -> None:
    found = statistics.bootstrap_over_videos([1, 0, 0, 0, -1, 1], ["a", "a", "a", "b", "c", "c"], resamples=200)
    assert found.low <= 1 / 6 <= found.high


def test_one_video_or_equal_videos_have_no_bootstrap() -> None:
    assert math.isnan(statistics.bootstrap_over_videos([1, 0, 1], ["a", "a", "a"]).low)
    assert statistics.bootstrap_over_videos([1, 0, 0, 1], ["a", "a", "b", "b"]) == statistics.Interval(0.5, 0.5)


@pytest.mark.parametrize("item", GOLDEN["intervals"], ids=lambda item: f"{item['correct']}_of_{item['n']}")
def test_intervals_at_the_edges_equal_the_golden_ones(item: dict[str, Any]) -> None:
    wilson = statistics.wilson_interval(item["correct"], item["n"])
    assert [wilson.low, wilson.high] == close(item["wilson95"], abs=1e-12)


@pytest.mark.parametrize("item", GOLDEN["multiple_tests"])
def test_holm_adjusts_as_the_golden_list_does(item: dict[str, Any]) -> None:
    assert statistics.holm(item["p"]) == close(item["holm"], abs=1e-12)


def test_holm_of_an_empty_list_is_empty() -> None:
    assert statistics.holm([]) == []


def test_cochran_q_of_two_runs_is_the_square_of_mcnemar() -> None:
    item = next(item for item in SETS if item["name"] == "plus2")
    new, base = answers(item["B"]), answers(item["A"])
    found = statistics.cochran_q(np.stack([new, base], axis=1))
    assert (found.q, found.degrees_of_freedom) == (close(item["expected"]["paired"]["mcnemar_chi2"]), 1)


def test_runs_that_agree_on_every_question_show_no_effect_of_scale() -> None:
    assert statistics.cochran_q(np.ones((10, 5))) == statistics.CochranQ(0.0, 4, 1.0)


@pytest.mark.parametrize(("discordance", "points"), [(0.10, 1.7), (0.15, 2.1), (0.22, 2.5), (0.30, 3.0)])
def test_the_minimum_detectable_effect_is_the_reference_one(discordance: float, points: float) -> None:
    error = statistics.paired_standard_error(discordance, 2700)
    assert round(100 * statistics.minimum_detectable_effect(error), 1) == points


def test_mcnemar_refuses_means_over_seeds() -> None:
    with pytest.raises(DataError, match="not means over seeds"):
        statistics.mcnemar([0.5, 1], [0, 1], ["a", "b"])


@pytest.mark.parametrize(("correct", "questions"), [(3, 2), (-1, 2), (0, 0)])
def test_an_impossible_proportion_is_refused(correct: int, questions: int) -> None:
    with pytest.raises(DataError, match="is not a proportion"):
        statistics.wilson_interval(correct, questions)
