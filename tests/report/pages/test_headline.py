"""The headline of a study claims what its verdict supports, and names the settings in which it holds."""

from dataclasses import replace
from pathlib import Path

from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import conclude

from .test_conclusion import _conclusion, _estimate, _recorded, _with_deltas


def test_the_headline_names_the_setting_of_a_change_that_is_not_in_all(summary: Summary) -> None:
    """A loss of 1.0 points with subtitles was "lowered accuracy", beside +0.5 points without."""
    assert conclude(_with_deltas(summary, (0.5, 0.6), (-3.0, 0.6))).headline == (
        "Training on captions lowered accuracy with subtitles."
    )
    assert (
        conclude(_with_deltas(summary, (-3.0, 0.6), (-3.0, 0.6))).headline == "Training on captions lowered accuracy."
    )


def test_the_headline_says_that_each_scale_was_trained_once(tmp_path: Path) -> None:
    assert "(one training seed)" in _conclusion(tmp_path, gain=2.5, control_gain=0.3, seeds=1).headline


def test_a_control_that_is_better_than_the_headline_arm_is_not_called_equal(summary: Summary) -> None:
    gains = _with_deltas(summary, (9.0, 1.0), (9.0, 1.0))
    rows = [replace(row, difference=_estimate(-10.8, 1.6), p_holm=0.001) for row in summary.controls]
    assert conclude(replace(gains, controls=rows)).headline.endswith("for as many training steps, raises it by more.")


def test_a_gain_in_a_setting_without_its_control_is_not_attributed_to_captions(summary: Summary) -> None:
    gains = _with_deltas(summary, (9.0, 1.0), (9.0, 1.0))
    rows = [replace(row, difference=_estimate(5.0, 1.0), p_holm=0.001) for row in gains.controls]
    assert conclude(replace(gains, controls=rows)).tone == "gain"
    one = conclude(replace(gains, controls=[row for row in rows if row.setting == "without_subtitles"]))
    assert one.tone == "unclear" and one.headline == (
        "Accuracy rose, without subtitles by more than a small set of captions that is repeated for as many training "
        "steps; in the other setting, whether by more captions or by more training steps is not resolved."
    )
    unlike = [row if row.setting == "without_subtitles" else replace(row, p_holm=0.3) for row in rows]
    assert conclude(replace(gains, controls=unlike)).headline == one.headline
    lower = [
        row if row.p_holm == 0.001 else replace(row, difference=_estimate(-5.0, 1.0), p_holm=0.001) for row in unlike
    ]
    assert "without subtitles" not in conclude(replace(gains, controls=lower)).headline


def test_a_headline_claims_no_more_than_captions_against_none_and_against_repeated_ones() -> None:
    """With subtitles, 530k minus 50k was -0.2 [-2.2, +1.8] there: "more captions raised accuracy" said too much."""
    assert _recorded("demo_scaling/world2").headline == (
        "Training on captions raised accuracy, and by more than a small set of captions that is repeated for as many "
        "training steps."
    )
