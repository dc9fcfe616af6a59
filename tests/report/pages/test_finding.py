from dataclasses import replace
from pathlib import Path

import pytest

from sg.report.numbers.measure import measure
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import Summary
from sg.report.pages.finding import Finding, find

from .study_builder import World


def _finding(
    folder: Path, gain: float, control_gain: float | None = None, control_steps: int = 331, seeds: int = 2
) -> Finding:
    world = World(folder / "study", videos=240)
    for seed in range(seeds):
        world.run(0, seed)
        world.run(50_000, seed, gain=gain / 3)
        world.run(530_000, seed, gain=gain)
        if control_gain is not None:
            world.run(50_000, seed, "equal_steps", gain=control_gain, steps=control_steps)
    return find(measure(read_study(folder / "study")))


def _texts(finding: Finding, topic: str) -> str:
    return " ".join(item.text for item in finding.statements if item.topic == topic)


def test_a_gain_that_holds_at_equal_steps_is_credited_to_captions(tmp_path: Path) -> None:
    finding = _finding(tmp_path, gain=2.5, control_gain=0.3)
    assert finding.tone == "gain"
    assert "530k captions raised accuracy" in finding.verdict
    assert "distinct captions raise accuracy" in finding.verdict


def test_a_gain_that_the_repeated_core_reaches_too_is_not_credited_to_captions(tmp_path: Path) -> None:
    finding = _finding(tmp_path, gain=2.5, control_gain=2.6)
    assert finding.tone == "unclear"
    assert "cannot be credited to more captions" in finding.verdict
    assert "distinct captions raise" not in finding.verdict


def test_without_an_equal_step_control_captions_and_steps_stay_mixed(tmp_path: Path) -> None:
    finding = _finding(tmp_path, gain=2.5)
    assert finding.tone == "unclear"
    assert "no equal-step control" in finding.verdict
    assert "data.control=equal_steps" in _texts(finding, "Equal steps")


def test_a_control_with_other_steps_does_not_carry_the_claim(tmp_path: Path) -> None:
    finding = _finding(tmp_path, gain=2.5, control_gain=0.3, control_steps=100)
    assert finding.tone == "unclear"
    assert "did not have the same number of steps" in finding.verdict


def test_no_effect_is_called_unresolved_with_the_difference_that_would_have_been_found(tmp_path: Path) -> None:
    finding = _finding(tmp_path, gain=0.0, control_gain=0.0)
    assert finding.tone == "unclear"
    assert finding.verdict.startswith("No effect of caption training is resolved")
    assert "points without subtitles" in _texts(finding, "Resolution")


def test_a_loss_is_called_a_loss(tmp_path: Path) -> None:
    finding = _finding(tmp_path, gain=-2.5, control_gain=-2.0)
    assert finding.tone == "loss"
    assert "lowered accuracy" in finding.verdict


def test_one_seed_is_said_to_leave_training_luck_out(tmp_path: Path) -> None:
    finding = _finding(tmp_path, gain=2.5, control_gain=0.3, seeds=1)
    assert "trained once" in finding.verdict
    assert "luck of training" in _texts(finding, "Seeds")


def test_seeds_are_counted_that_lie_above_the_baseline(summary: Summary) -> None:
    assert "in 3 of 3 seeds" in _texts(find(summary), "Seeds")


def test_without_a_baseline_there_is_no_verdict(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=9).run(50_000)
    finding = find(measure(read_study(tmp_path / "study")))
    assert finding.verdict.startswith("No verdict")


def test_failed_runs_are_named(summary: Summary) -> None:
    assert "scale=400k,control=None,seed=1" in _texts(find(summary), "Failed runs")


def test_a_leaking_probe_is_a_caution(summary: Summary) -> None:
    row = summary.probes[0]
    leaking = replace(row, at_chance=False, accuracy=replace(row.accuracy, value=38.0))
    finding = find(replace(summary, probes=[leaking, *summary.probes[1:]]))
    assert "+13.0 points" in _texts(finding, "Leak probes")
    assert next(item for item in finding.statements if item.topic == "Leak probes").caution


def test_a_study_without_probes_says_so(summary: Summary) -> None:
    assert "No leak probe" in _texts(find(replace(summary, probes=[])), "Leak probes")


def test_silence_is_pointed_out(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=30, silent=0.2)
    world.run(0)
    world.run(50_000)
    finding = find(measure(read_study(tmp_path / "study")))
    assert "silence can raise a score" in _texts(finding, "Answered")


@pytest.mark.parametrize("topic", ["Scale", "Equal steps", "Curation", "Durations", "Resolution"])
def test_a_whole_study_is_read_on_every_topic(summary: Summary, topic: str) -> None:
    assert "without subtitles" in _texts(find(summary), topic).lower()
