from dataclasses import replace
from pathlib import Path

import pytest

from sg.report.numbers.measure import measure
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import Conclusion, conclude

from ..study_builder import World


def _conclusion(
    folder: Path, gain: float, control_gain: float | None = None, control_steps: int = 331, seeds: int = 2
) -> Conclusion:
    world = World(folder / "study", videos=240)
    for seed in range(seeds):
        world.run(0, seed)
        world.run(50_000, seed, gain=gain / 3)
        world.run(530_000, seed, gain=gain)
        if control_gain is not None:
            world.run(50_000, seed, "equal_steps", gain=control_gain, steps=control_steps)
    return conclude(measure(read_study(folder / "study")))


def _texts(conclusion: Conclusion, topic: str) -> str:
    return " ".join(item.text for item in conclusion.statements if item.topic == topic)


def test_a_gain_over_the_equal_step_control_is_attributed_to_captions(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5, control_gain=0.3)
    assert conclusion.tone == "gain"
    assert "530k captions (5,300 used) raised accuracy" in conclusion.verdict
    assert "more distinct captions raise accuracy" in conclusion.verdict


def test_a_gain_that_the_equal_step_control_reaches_is_not_attributed_to_captions(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5, control_gain=2.6)
    assert conclusion.tone == "unclear"
    assert "cannot be attributed to more captions" in conclusion.verdict
    assert "distinct captions raise" not in conclusion.verdict


def test_without_an_equal_step_control_captions_and_steps_are_not_separated(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5)
    assert conclusion.tone == "unclear"
    assert "no equal-step control" in conclusion.verdict
    assert "data.control=equal_steps" in _texts(conclusion, "Equal steps")


def test_a_control_with_other_steps_does_not_support_the_claim(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5, control_gain=0.3, control_steps=100)
    assert conclusion.tone == "unclear"
    assert "did not take the same number of steps" in conclusion.verdict


def test_no_effect_is_called_unresolved_with_the_detectable_difference(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=0.0, control_gain=0.0)
    assert conclusion.tone == "unclear"
    assert conclusion.verdict.startswith("No effect of caption training is resolved")
    assert "points without subtitles" in _texts(conclusion, "Resolution")


def test_a_loss_is_called_a_loss(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=-2.5, control_gain=-2.0)
    assert conclusion.tone == "loss"
    assert "lowered accuracy" in conclusion.verdict


def test_one_seed_does_not_cover_training_variance_and_the_verdict_says_so(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5, control_gain=0.3, seeds=1)
    assert "trained once" in conclusion.verdict
    assert "variance across training seeds" in _texts(conclusion, "Seeds")


def test_seeds_above_the_baseline_are_counted(summary: Summary) -> None:
    assert "in 3 of 3 seeds" in _texts(conclude(summary), "Seeds")


def test_without_a_baseline_there_is_no_verdict(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=9).run(50_000)
    conclusion = conclude(measure(read_study(tmp_path / "study")))
    assert conclusion.verdict.startswith("No verdict")


def test_failed_runs_are_named(summary: Summary) -> None:
    assert "scale=400k,control=None,seed=1" in _texts(conclude(summary), "Failed runs")


def test_a_probe_above_chance_is_a_caution(summary: Summary) -> None:
    row = summary.probes[0]
    leaking = replace(row, at_chance=False, accuracy=replace(row.accuracy, value=38.0))
    conclusion = conclude(replace(summary, probes=[leaking, *summary.probes[1:]]))
    assert "+13.0 points" in _texts(conclusion, "Leak probes")
    assert next(item for item in conclusion.statements if item.topic == "Leak probes").caution


def test_a_study_without_probes_says_so(summary: Summary) -> None:
    assert "No leak probe" in _texts(conclude(replace(summary, probes=[])), "Leak probes")


def test_unanswered_questions_are_a_caution(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=30, silent=0.2)
    world.run(0)
    world.run(50_000)
    conclusion = conclude(measure(read_study(tmp_path / "study")))
    assert "a silent model can score higher" in _texts(conclusion, "Answered")


@pytest.mark.parametrize("topic", ["Scale", "Equal steps", "Curation", "Durations", "Resolution"])
def test_a_complete_study_has_a_statement_on_every_topic(summary: Summary, topic: str) -> None:
    assert "without subtitles" in _texts(conclude(summary), topic).lower()
