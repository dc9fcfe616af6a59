"""Probabilities of the letters: their mean for the right letter, calibration error and reliability diagram."""

import math

import pytest

from sg.artefacts.answer_rules.calibration import (
    BINS,
    by_letter,
    calibration,
    calibration_line,
    probabilities,
    reliability_text,
)
from sg.artefacts.predictions import Prediction
from sg.evaluate.run import score_details, score_lines
from sg.evaluate.scoring import score


def row(at: int, answer: str, *logits: float) -> Prediction:
    return Prediction(
        f"q{at}", "without_subtitles", "v", "short", answer, letter="A", num_options=2, letter_logits=logits
    )


def of(at: int, answer: str, share: float) -> Prediction:
    """A question whose letter A has the probability `share`, as log-probabilities or as logits."""
    shift = 3.0 * (at % 2)
    return row(at, answer, math.log(share) + shift, math.log(1 - share) + shift)


def test_probabilities_are_among_the_letters_whatever_the_scale_of_the_logits() -> None:
    assert probabilities(by_letter(of(0, "A", 0.8))) == pytest.approx([0.8, 0.2])
    assert probabilities(by_letter(of(1, "A", 0.8))) == pytest.approx([0.8, 0.2])
    assert probabilities((1e4, 0.0)) == pytest.approx([1.0, 0.0])
    assert probabilities(()) == []


def test_a_model_that_is_right_as_often_as_it_is_sure_is_calibrated() -> None:
    found = calibration([of(at, "A" if at < 8 else "B", 0.8) for at in range(10)])
    assert found is not None
    assert (found.questions, found.ece) == (10, pytest.approx(0.0, abs=1e-9))
    assert found.right == pytest.approx(100 * (0.8 * 8 + 0.2 * 2) / 10)
    assert found.log_loss == pytest.approx(-(8 * math.log(0.8) + 2 * math.log(0.2)) / 10)
    (only,) = found.bins
    assert (only.low, only.high, only.questions, only.accuracy) == (80, 90, 10, 80)


def test_the_error_of_an_overconfident_model_is_its_distance_from_the_truth() -> None:
    rows = [of(at, "A" if at < 3 else "B", 0.95) for at in range(6)] + [of(at, "B", 0.45) for at in range(6, 8)]
    found = calibration(rows)
    assert found is not None
    assert found.ece == pytest.approx((6 * 45 + 2 * 45) / 8)
    assert [one.questions for one in found.bins] == [2, 6]
    assert sum(one.questions for one in found.bins) == found.questions
    assert len(found.bins) <= BINS


def test_the_scores_and_the_files_of_an_evaluation_have_them() -> None:
    rows = [of(at, "A", 0.8) for at in range(4)]
    scores = score(rows)
    assert "right letter 80.0 % likely" in score_lines(scores)[0]
    details = score_details(scores)["without_subtitles"]["calibration"]
    assert details["ece"] == pytest.approx(20.0)
    found = calibration(rows)
    assert found is not None
    assert calibration_line(found) in score_lines(scores)[0]
    assert reliability_text(found).splitlines()[1].split()[:5] == ["80", "to", "90", "4", "80.0"]
    silent = score([row(0, "A")])
    assert silent["without_subtitles"].calibration is None
    assert score_details(silent)["without_subtitles"]["calibration"] is None


def test_letters_that_answers_do_not_begin_with_are_said_to_say_little() -> None:
    rows = [of(at, "A", 0.2) for at in range(4)]  # the response chooses A, whose probability is small
    found = calibration(rows)
    assert found is not None and found.agreement == 0.0
    assert "which says little: only 0 % of the answers" in calibration_line(found)
    assert "option_texts=true" in score_lines(score(rows))[0]
    assert "option_texts=true" not in score_lines(score([of(at, "A", 0.8) for at in range(4)]))[0]
