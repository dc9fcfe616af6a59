import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.arms import Registration, write_registration
from sg.artefacts.result import read_result, write_result
from sg.report.numbers.comparisons import fit_shapes, probe_rows
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.measure import measure
from sg.report.numbers.study import Study, read_study
from sg.report.numbers.summary import Summary, headline_rows, read_summary
from sg.report.pages.conclusion import Conclusion, conclude
from sg.report.pages.tables import terminal_text
from sg.report.pages.verdict import _p_beyond
from tests.study.commands import ROOT

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
    assert "5,300 captions (standing for 530k) raised accuracy" in conclusion.verdict
    assert "more distinct captions raise accuracy" in conclusion.verdict
    assert conclusion.headline == (
        "Training on captions raised accuracy, and by more than a small set of captions that is repeated for as many "
        "training steps."
    )


def test_a_gain_that_the_equal_step_control_reaches_is_not_attributed_to_captions(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5, control_gain=2.6)
    assert conclusion.tone == "unclear"
    assert "an effect of more distinct captions is neither resolved nor excluded; the true difference is within ±" in (
        conclusion.verdict
    )
    assert "distinct captions raise" not in conclusion.verdict


def test_no_difference_is_only_claimed_within_a_bound_that_is_shown(summary: Summary) -> None:
    """A control within ±1 point of its headline arm explains the gain; a wide interval around 0 explains nothing."""
    gains = _with_deltas(summary, (9.0, 1.0), (9.0, 1.0))
    narrow = [replace(row, difference=_estimate(0.1, 0.3), p_holm=0.7) for row in summary.controls]
    equivalent = conclude(replace(gains, controls=narrow))
    verdict = equivalent.verdict
    assert equivalent.headline.endswith("repeated for as many training steps, raises it as much.")
    assert "equivalent within ±1 point after Holm, so the effect of more distinct captions is smaller" in verdict
    wide = [replace(row, difference=_estimate(0.1, 1.2), p_holm=0.9) for row in summary.controls]
    conclusion = conclude(replace(gains, controls=wide))
    assert "equivalent" not in conclusion.verdict and "explain" not in conclusion.verdict
    assert (
        conclusion.headline == "Accuracy rose, but whether by more captions or by more training steps is not resolved."
    )
    assert conclude(replace(gains, controls=[])).headline.startswith("Accuracy rose, but without an equal-step control")
    assert "within ±2.1 points" in conclusion.verdict


def test_equivalence_is_corrected_for_all_scales_and_controls(summary: Summary) -> None:
    """A difference of 0 with p = .03 of "it is not within ±1 point" is equivalent alone, and not as one of many."""
    error = 1 / 1.881  # p = .03
    gains = _with_deltas(summary, (9.0, 1.0), (9.0, 1.0))
    rows = [replace(row, difference=_estimate(0.0, error), p_holm=0.9) for row in summary.controls]
    assert rows[0].difference.p_beyond(1.0) == pytest.approx(0.03, abs=0.001)
    assert "equivalent" not in conclude(replace(gains, controls=rows)).verdict
    clear = [replace(row, difference=_estimate(0.0, 0.3), p_holm=0.9) for row in summary.controls]
    assert "equivalent within ±1 point after Holm" in conclude(replace(gains, controls=clear)).verdict


def test_the_nearest_to_0_of_all_scales_and_controls_pays_for_all_of_them(summary: Summary) -> None:
    """Then of many true differences at the bound, any is called equivalent in at most 5 % of studies."""
    cells = [row.cells["overall"].delta for table in summary.tables for row in headline_rows(table)]
    others = [one for one in cells if one is not None and one.has_interval]
    control, *rest = summary.controls
    nearest = _estimate(0.0, 0.2)
    drawn = replace(summary, controls=[replace(control, difference=nearest), *rest])
    assert _p_beyond(nearest, drawn) == pytest.approx((len(others) + 1 + len(rest)) * (nearest.p_beyond(1.0) or 0.0))


def test_a_loss_in_one_setting_does_not_hide_a_gain_in_the_other(summary: Summary) -> None:
    conclusion = conclude(_with_deltas(summary, (-3.1, 0.8), (8.5, 1.1)))
    assert "raised accuracy by 8.5 [6.3, 10.7] points with subtitles and lowered it by 3.1 [1.5, 4.7] points" in (
        conclusion.verdict
    )
    assert conclusion.tone == "unclear"


def test_a_difference_that_only_the_correction_leaves_open_says_so(summary: Summary) -> None:
    """`+8.1 [+1.2, +14.9]: no change is resolved` contradicts itself without the corrected p."""
    changed = _with_deltas(summary, (9.0, 1.0), (8.1, 3.4))
    table = changed.tables[1]
    rows = [
        replace(row, cells=row.cells | {"overall": replace(row.cells["overall"], p_holm=0.228)}) for row in table.rows
    ]
    verdict = conclude(replace(changed, tables=[changed.tables[0], replace(table, rows=rows)])).verdict
    assert (
        "no change is resolved (+8.1 [+1.4, +14.8] points) after Holm's correction for several comparisons" in verdict
    )
    assert "(p = .228)" in verdict


def test_scale_is_claimed_only_if_the_test_of_all_scales_agrees(summary: Summary) -> None:
    """-0.7 [-1.4, -0.1] points from end to end with a joint p of .053 was "accuracy falls with scale"."""
    tables = [replace(table, growth=_estimate(-0.7, 0.33), joint_p=0.053) for table in summary.tables]
    text = _texts(conclude(replace(summary, tables=tables)), "Scale")
    assert "whether accuracy changes with scale is not resolved" in text and "lower" not in text


def test_a_curve_with_as_many_parameters_as_points_is_called_untested(summary: Summary) -> None:
    points = [(0, 39.5), (50_000, 41.5), (100_000, 43.2), (530_000, 45.4)]
    table = replace(summary.tables[1], shapes=fit_shapes(points, np.full(4, 0.3)))
    text = _texts(conclude(replace(summary, tables=[table])), "Shape")
    assert "a saturating power law is untested: as many parameters as points" in text


def test_a_claim_from_one_training_seed_says_so_where_it_stands(tmp_path: Path) -> None:
    """The caveat at the end of the verdict did not reach the statements below it."""
    one = _conclusion(tmp_path / "one", gain=2.5, control_gain=0.3, seeds=1)
    once = " (one training seed: over videos only)"
    assert f"more distinct captions raise accuracy{once}." in _texts(one, "Equal steps")
    assert f"than with 50k{once}." in _texts(one, "Scale")
    assert "before Holm's correction; if training again changes nothing)" in _texts(one, "Resolution")
    several = _conclusion(tmp_path / "several", gain=2.5, control_gain=0.3, seeds=2)
    assert all(once not in item.text and "changes nothing" not in item.text for item in several.statements)


def test_a_control_that_only_the_correction_leaves_open_says_so(summary: Summary) -> None:
    """`+2.7 [+0.3, +5.0]: neither resolved nor excluded` contradicts itself without the corrected p."""
    rows = [replace(row, difference=_estimate(2.7, 1.1), p_holm=0.105) for row in summary.controls]
    text = _texts(conclude(replace(summary, controls=rows)), "Equal steps")
    assert "is neither resolved nor excluded after Holm's correction (p = .105); the true difference is within" in text


def test_a_study_without_its_baseline_says_which_run_is_missing(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=60)
    for seed in (0, 1):
        world.run(0, seed, reason="out of memory")
        world.run(50_000, seed, gain=0.4)
        world.run(530_000, seed, gain=1.2)
    plan = Registration("scale effect", "accuracy", "demo", "without_subtitles", ["50k", "530k"], [0, 1], 1.0, "rule")
    registered = replace(plan, rule="found if the interval excludes 0")
    write_registration(tmp_path / "study", registered)
    for path in (tmp_path / "study").glob("*/result.json"):
        write_result(path, replace(read_result(path), registration=registered.fingerprint))
    summary = measure(read_study(tmp_path / "study"))
    verdict = conclude(summary).verdict
    assert verdict.startswith("The registered contrast (scale effect: 530k (5,300) minus 50k (500), without subtitles)")
    assert "the run without captions (data.scale=0) did not finish with a seed that the other has" in verdict
    printed = " ".join(terminal_text(summary, conclude(summary)).split())
    assert "no difference from no captions, because no run without captions finished beside others" in printed


def test_missing_arms_that_would_decide_are_named(tmp_path: Path) -> None:
    verdict = _conclusion(tmp_path, gain=2.5, control_gain=0.3).verdict
    assert "add controls=[shuffled_captions] to test it" in verdict
    assert "captions that describe their video" in verdict


def test_a_curve_that_chi_squared_rejects_is_never_called_better(summary: Summary) -> None:
    """Six means of a study with subtitles: AICc called a step clearly better, although chi-squared rejects it."""
    points = [(0, 39.5), (50_000, 41.5), (100_000, 43.2), (200_000, 43.0), (400_000, 44.2), (530_000, 45.4)]
    table = replace(summary.tables[1], shapes=fit_shapes(points, np.full(6, 0.60)))
    step = next(shape for shape in table.shapes if shape.name == "step")
    assert step.p is not None and step.p < 0.001
    text = _texts(conclude(replace(summary, tables=[table])), "Shape")
    assert "a saturating power law is not rejected (chi-squared" in text
    assert "rejected by chi-squared: a step (chi-squared" in text and "better than a step" not in text


def test_without_a_curve_that_fits_none_is_called_best(summary: Summary) -> None:
    points = [(0, 40.0), (50_000, 48.0), (100_000, 40.0), (200_000, 48.0), (400_000, 40.0), (530_000, 48.0)]
    table = replace(summary.tables[1], shapes=fit_shapes(points, np.full(6, 0.5)))
    text = _texts(conclude(replace(summary, tables=[table])), "Shape")
    assert "chi-squared rejects all curves that it can test" in text and "better" not in text


def test_a_probe_of_28_percent_is_above_chance_if_its_interval_is(tmp_path: Path) -> None:
    study = _probed(tmp_path, {"zeroed_video": 0.285, "no_video": 0.25})
    rows = {row.probe: row for row in probe_rows(study)}
    assert abs(rows["zeroed_video"].accuracy.value - 28.5) < 0.1
    assert (rows["zeroed_video"].against_chance, rows["no_video"].against_chance) == ("above", "not resolved")
    conclusion = conclude(measure(study))
    assert "is above it by +3.5 points (zeroed video, 28.5 [" in _texts(conclusion, "Leak probes")
    assert "Above text alone although the video is wrong (not corrected): zeroed video." in _texts(
        conclusion, "Text alone"
    )


@pytest.mark.parametrize("videos", [1, 2])
def test_one_video_and_identical_videos_carry_no_verdict(tmp_path: Path, videos: int) -> None:
    world = World(tmp_path / "study", videos=videos, probes=False)
    for scale, right in ((0, False), (530_000, True)):
        path = world.run(scale) / "predictions.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            wrong = "ABCD".replace(row["answer"], "")[0]
            row |= {"letter": row["answer"] if right else wrong, "response": ""}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = measure(read_study(tmp_path / "study"))
    conclusion = conclude(summary)
    assert conclusion.verdict.startswith("No verdict: the answers carry no interval")
    text = terminal_text(summary, conclusion)
    assert "+100.0 [no interval]" in text and "nan" not in text


def test_a_scale_that_was_asked_in_one_setting_only_is_claimed_there_only(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=240)
    for seed in (0, 1):
        world.run(0, seed)
        world.run(50_000, seed, gain=2.0)
        world.run(530_000, seed, gain=3.0, settings=("without_subtitles",))
    verdict = conclude(measure(read_study(tmp_path / "study"))).verdict
    assert "Training on 5,300 captions (standing for 530k) raised accuracy by" in verdict
    assert "points with subtitles" not in verdict
    assert "530k has no answers with subtitles, so nothing is claimed there." in verdict


def _estimate(value: float, error: float) -> Estimate:
    return Estimate(value, value - 1.96 * error, value + 1.96 * error, error, 0.001, None, [0, 1, 2], True)


def _with_deltas(summary: Summary, *deltas: tuple[float, float]) -> Summary:
    """The summary with these differences (value, standard error) of the largest scale in its two settings."""
    tables = []
    for table, (value, error) in zip(summary.tables, deltas, strict=True):
        rows = list(table.rows)
        cell = replace(rows[5].cells["overall"], delta=_estimate(value, error), p_holm=0.001)
        rows[5] = replace(rows[5], cells=rows[5].cells | {"overall": cell})
        tables.append(replace(table, rows=rows))
    return replace(summary, tables=tables)


def _probed(folder: Path, shares: dict[str, float]) -> Study:
    """A study of 2,700 questions with one scale that answers this share of them right in each probe."""
    world = World(folder / "study", videos=900, probes=False)
    world.run(530_000, settings=("without_subtitles",))
    study = read_study(folder / "study")
    arm = study.headline[0]
    generator = np.random.default_rng(0)
    answers = {}
    for probe, share in shares.items():
        row = np.zeros(2700)
        row[generator.choice(2700, round(2700 * share), replace=False)] = 1
        answers[probe] = row[None]
    correct, seeds = {**arm.correct, **answers}, {**arm.seeds, **dict.fromkeys(shares, (0,))}
    return replace(study, headline=(replace(arm, correct=correct, seeds=seeds),))


def test_without_an_equal_step_control_captions_and_steps_are_not_separated(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5)
    assert conclusion.tone == "unclear"
    assert "no equal-step control" in conclusion.verdict
    assert conclusion.headline.startswith("Accuracy rose, but without an equal-step control")
    assert "data.control=equal_steps" in _texts(conclusion, "Equal steps")


def test_a_control_with_other_steps_does_not_support_the_claim(tmp_path: Path) -> None:
    conclusion = _conclusion(tmp_path, gain=2.5, control_gain=0.3, control_steps=100)
    assert conclusion.tone == "unclear"
    assert "did not take the same number of steps" in conclusion.verdict
    text = _texts(conclusion, "Equal steps")
    assert "the steps differ, so the effects of captions and of steps are not separated" in text
    assert "raise accuracy" not in text


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


def _recorded(name: str) -> Conclusion:
    return conclude(read_summary(ROOT / "experiments" / name))


def test_the_verdict_says_that_a_control_overfits_or_harms() -> None:
    """A difference from a control that is bad by itself is not the effect of what it lacks."""
    verdict = _recorded("demo_scaling/world2").verdict
    assert "at equal steps, more distinct captions raise accuracy. This control overfits its captions" in verdict
    assert (
        "530k shuffled itself is below no captions (-4.6 [-6.5, -2.6] points with subtitles, not corrected), which is "
        "a part of this difference." in verdict
    )
    assert "overfits" not in _recorded("demo_null").verdict  # it has no held-out losses


def test_a_study_of_one_scale_is_not_told_to_add_an_equal_step_control() -> None:
    conclusion = _recorded("demo_tail")
    assert _texts(conclusion, "Equal steps") == "An equal-step control needs two scales above 0; this study has fewer."
    assert "Runs with captions also took more optimiser steps" in conclusion.verdict
    assert "controls=[shuffled_captions]" in conclusion.verdict and "Larger scales" not in conclusion.verdict


def test_a_study_of_an_older_version_shows_its_p_as_not_corrected() -> None:
    conclusion = _recorded("demo_null")
    assert "+2.1 [+0.7, +3.6] points, p = .005, not corrected" in _texts(conclusion, "Equal steps")
    assert _texts(conclusion, "Seeds").startswith(
        "Intervals cover the choice of videos, not the variance across training seeds. Without subtitles, 530k is above"
    )


def test_curves_that_were_fitted_to_one_seed_say_so() -> None:
    conclusion = _recorded("demo")
    once = "(one training seed: over videos only)."
    assert all(item.text.endswith(once) for item in conclusion.statements if item.topic == "Shape")
    assert f"rejects a saturating power law, a step and a constant {once}" in _texts(conclusion, "Held-out loss")
