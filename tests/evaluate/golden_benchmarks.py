"""Builders of questions, rows and benchmark folders from the golden data of more benchmarks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sg.artefacts.answer_rules.question import AnswerRule, Question, labelled
from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import WITHOUT_SUBTITLES, Prediction

GOLDENS = Path(__file__).parents[1] / "goldens" / "benchmarks"


def golden(name: str) -> Any:
    return json.loads((GOLDENS / name).read_text())


def choice(texts: Sequence[str], answer: str, **more: Any) -> Question:
    return Question("1", more.pop("task_type", ""), more.pop("text", "What?"), labelled(texts), answer, **more)


def answered(question: Question, video: str, duration: str, response: str | None, rule: AnswerRule) -> Prediction:
    """The row of a question as an evaluation writes it; None is a question that was not answered."""
    row = Prediction(
        question.question_id, WITHOUT_SUBTITLES, video, duration, question.answer, domain=question.domain,
        sub_category=question.sub_category, task_type=question.task_type, num_options=len(question.options),
    )  # fmt: skip
    if response is None:
        return replace(row, status="missing_video", reason="there is no file")
    reading = rule(question, response)
    return replace(row, response=response, letter=reading.letter, score=reading.score)


def group_questions(name: str) -> list[tuple[Question, str, str]]:
    """(question, video, duration) of the rows of a golden set of Video-MME-v2."""
    rows = []
    for video in golden(f"video_mme_v2/{name}.json"):
        rows += group_rows(video["video_id"], video["group_type"], video["group_structure"], video["answers"],
                           list(video["levels"]), video["second_heads"], video["third_heads"])  # fmt: skip
    return rows


def group_rows(
    video: str, kind: str, structure: str, answers: str, levels: list[str], seconds: list[str], thirds: list[str]
) -> list[tuple[Question, str, str]]:
    import ast

    task = kind if kind == "relevance" else f"{kind} {ast.literal_eval(structure)}"
    return [
        (
            Question(f"{video}-{at + 1}", task, "", labelled("abcdefgh"), answer, seconds[at], thirds[at]),
            video,
            f"level_{levels[at]}",
        )
        for at, answer in enumerate(answers)
    ]


def letter_of(candidates: Sequence[str], answer: str) -> str:
    """The last candidate that equals the answer, as officially."""
    return LETTERS[len(candidates) - 1 - list(candidates)[::-1].index(answer)]
