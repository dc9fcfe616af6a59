"""Every golden response of MVBench, TempCompass, LVBench and Video-MME-v2, read as the official scripts read it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.artefacts.answer_rules.groups import GROUPS, group_score, linear_score
from sg.artefacts.answer_rules.lvbench import polished
from sg.artefacts.answer_rules.question import Question, Reading, labelled
from sg.artefacts.answer_rules.rules import RULES, answer_rule
from sg.artefacts.answer_rules.tempcompass import CAPTION_MATCHING, MULTI_CHOICE, TASKS, YES_NO
from sg.artefacts.answers import read_letter_v2
from tests.evaluate.golden_benchmarks import choice, golden


def test_every_golden_response_to_video_mme_v2_is_read_as_officially() -> None:
    cases = golden("video_mme_v2/answer_extraction.json")
    assert [case["response"] for case in cases if read_letter_v2(case["response"]) != case["official"]] == []
    assert len(cases) == 608


@pytest.mark.parametrize("text", ["NA", "N/A", "<NA>", "#N/A", "None", "nan", ""])
def test_words_that_a_table_reads_as_missing_are_unanswered_in_video_mme_v2(text: str) -> None:
    question = choice("abcdefgh", "A")
    assert RULES["video_mme_v2"](question, text) == Reading("")
    assert RULES["video_mme_v2"](question, f"{text} ").letter == ("A" if "A" in text else "")


def test_every_golden_group_of_video_mme_v2_has_the_official_score() -> None:
    import ast

    cases = golden("video_mme_v2/group_scores.json")
    for case in cases:
        structure = ast.literal_eval(case["group_structure"])
        kind = "relevance" if case["group_type"] == "relevance" else f"logic {structure}"
        assert group_score(kind, case["scores"]) == pytest.approx(case["score"], abs=1e-9)
        if case["linear"] is not None:
            assert linear_score(case["scores"]) == case["linear"]
    assert len(cases) == 324 and len(GROUPS) == 4


def test_every_golden_response_to_mvbench_is_scored_as_officially() -> None:
    cases = golden("mvbench/answers.json")
    for case in cases:
        question = choice(case["candidates"], case["gt"][1])
        assert bool(RULES["mvbench"](question, case["response"]).score) == case["official"], case
        assert bool(RULES["mvbench_bare"](question, case["response"]).score) == case["official_no_prefill"], case
    assert len(cases) == 597


def test_an_empty_response_to_mvbench_counts_as_right_and_chooses_nothing() -> None:
    question = choice(["a", "b", "c"], "B")
    assert RULES["mvbench"](question, "  \n") == Reading("", 1)
    assert [RULES["mvbench"](question, text).letter for text in ("B", "b)", "(B)", "c) text")] == ["B", "B", "B", "C"]
    assert RULES["mvbench"](question, "The answer is B") == Reading("", 0)


@pytest.mark.parametrize(("response", "right"), [("B", 1), (" B) b", 1), ("B.", 0), ("b", 0), ("(B)", 0), ("", 0)])
def test_mlvu_takes_the_text_before_the_first_bracket_as_the_letter(response: str, right: int) -> None:
    assert RULES["mlvu"](choice(["a", "b"], "B"), response) == Reading("B" if right else "", right)


def tempcompass_question(task: str, text: str, answer: str) -> Question:
    lines = text.split("\n")[1:]
    if task == YES_NO:
        return choice(["yes", "no"], {"yes": "A", "no": "B"}[answer], domain=task)
    if task == MULTI_CHOICE:
        return Question("1", "", text, tuple(lines), answer[0], domain=task)
    return choice(lines, "AB"[lines.index(answer)], domain=task)


@pytest.mark.parametrize("task", TASKS)
def test_every_golden_response_to_tempcompass_has_the_official_rating(task: str) -> None:
    cases = golden(f"tempcompass/{task.replace('-', '_')}.answers.json")
    for case in cases:
        question = tempcompass_question(task, case["question"], case["answer"])
        reading = RULES["tempcompass"](question, case["prediction"] or "")
        assert (reading.score, reading.letter != "") == (case["rating"], case["match_success"]), case
    assert len(cases) == {MULTI_CHOICE: 420, YES_NO: 320, CAPTION_MATCHING: 428}[task]


def test_every_golden_response_to_lvbench_is_polished_as_officially() -> None:
    cases = golden("lvbench/polish_answer.json")
    assert [case["response"] for case in cases if polished(case["response"]) != case["official_polish"]] == []
    assert len(cases) == 526


def test_the_scorer_of_lvbench_alone_reads_nothing() -> None:
    question = choice(["one", "two"], "A")
    assert RULES["lvbench_exact"](question, "A") == Reading("A", 1)
    assert [RULES["lvbench_exact"](question, text) for text in ("(A)", "A.", "a", " A", "")] == [Reading("", 0)] * 5
    assert RULES["lvbench"](question, "(A) one") == Reading("A", 1)


@given(st.sampled_from(sorted(RULES)), st.text(max_size=40), st.sampled_from(TASKS))
def test_any_text_is_read_without_an_error(name: str, response: str, task: str) -> None:
    question = Question("1", "", "Which?", labelled(["yes", "no"]), "A", domain=task)
    reading = answer_rule(name)(question, response)
    assert reading.score in (None, 0, 1)
    assert len(reading.letter) <= 1
