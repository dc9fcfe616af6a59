import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.artefacts.answer_rules.rules import answer_rule
from sg.artefacts.answers import read_letter, read_letter_2024_06_18
from sg.core.errors import ConfigError

GOLDENS = Path(__file__).parents[1] / "goldens" / "video_mme"


def golden_responses() -> list[dict[str, str]]:
    return json.loads((GOLDENS / "answer_extraction.json").read_text())


def test_all_golden_responses_are_read_as_the_official_scorer_reads_them() -> None:
    wrong = [case["response"] for case in golden_responses() if read_letter(case["response"]) != case["official"]]
    assert wrong == []


def test_all_golden_responses_are_read_as_the_older_official_scorer_reads_them() -> None:
    wrong = [
        case["response"]
        for case in golden_responses()
        if read_letter_2024_06_18(case["response"]) != case["official_2024_06_18"]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("Best answer: D", "B"),
        ("Based on the video, the answer is D", "B"),
        ("ANSWER: D", "A"),
        ("Answer: D", "D"),
        ("Certainly! D", "C"),
        ("(d)", ""),
        ("", ""),
        ("red B", "B"),
    ],
)
def test_quirks_that_change_scores_are_kept(response: str, letter: str) -> None:
    assert read_letter(response) == letter


@given(st.text())
def test_any_text_gives_a_letter_or_nothing(response: str) -> None:
    assert read_letter(response) in {"", "A", "B", "C", "D"}


def test_an_unknown_reader_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ConfigError, match="expected official, video_mme, official_2024_06_18"):
        answer_rule("oficial")
