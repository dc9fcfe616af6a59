"""What a file of answers holds, whichever program wrote it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sg.artefacts.answer_rules.question import Question
from sg.artefacts.answer_rules.rules import RULES
from sg.artefacts.predictions import WITHOUT_SUBTITLES, Prediction
from sg.core.errors import DataError

NO_DURATION = "all"
UNKNOWN_OPTIONS = ("A.", "B.", "C.", "D.")
"""The options of a question whose file does not say them."""


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """One answer of a file, with what the file says of its question.

    Attributes:
        where: its place in the file, for messages.
        question: its id is unique in the file; its answer is "" if the file does not say it.
        response: the text of the model.
        video: name of the video in the file, "" if it says none; `duration` its bucket.
        ids: names that the benchmark may have for the question, the likeliest first.
        row: its row in the benchmark's table, or None.
        read: the letter that the program read; "" for none, None where the file does not say it.
        score: the score that the program gave: 1 right, 0 wrong, None where it gave none.
    """

    where: str
    question: Question
    response: str
    video: str = ""
    duration: str = NO_DURATION
    ids: tuple[str, ...] = ()
    row: int | None = None
    read: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class HarnessScore:
    """The score that the program itself gave.

    Attributes:
        value: recomputed by its rule from the answers of the file, in percent; None if it gives none.
        recorded: what its own result file beside the answers says, in percent; None without such a file.
        rule: how the program reads and counts, in words.
        partial: numbers of asked questions and of all, if only a part was asked.
    """

    value: float | None
    recorded: float | None
    rule: str
    partial: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """The answers of one model to one benchmark in one setting.

    Attributes:
        writer: the program that wrote the file: `lmms-eval`, `VLMEvalKit`, `official script`, or "" for a plain table.
        benchmark: name of the benchmark; "" if the file does not say it.
        task: name of the part of the benchmark in the program, or its own name of the benchmark.
        rule: the rule by which the authors of the benchmark read the answers of such a file.
    """

    path: Path
    writer: str
    benchmark: str
    task: str
    answers: tuple[FileAnswer, ...]
    rule: str = "video_mme"
    setting: str = WITHOUT_SUBTITLES
    harness: HarnessScore | None = None


def predictions_of(file: AnswerFile) -> list[Prediction]:
    """The answers as rows, read by the official rule, with the right answers that the file says.

    Raises:
        DataError: the file does not say the right answers.
    """
    return [_prediction(file, answer) for answer in file.answers]


def _prediction(file: AnswerFile, answer: FileAnswer) -> Prediction:
    question = answer.question
    if not question.answer:
        raise DataError(
            f"{answer.where} does not say the right answer of question {question.question_id}: give the benchmark too, "
            "as benchmark=NAME benchmark.folder=DIR."
        )
    reading = RULES[file.rule](question, answer.response)
    return Prediction(
        question_id=question.question_id,
        setting=file.setting,
        video_id=answer.video or question.question_id,
        duration=answer.duration,
        answer=question.answer,
        domain=question.domain,
        sub_category=question.sub_category,
        task_type=question.task_type,
        response=answer.response,
        letter=reading.letter,
        score=reading.score,
        num_options=max(len(question.options), 2),
    )


def without_repeats(path: Path, answers: Sequence[FileAnswer]) -> tuple[FileAnswer, ...]:
    """The answers, each question once; DataError if a question has two different answers."""
    found: dict[str, FileAnswer] = {}
    for answer in answers:
        name = answer.question.question_id
        first = found.setdefault(name, answer)
        if replace(first, where="") != replace(answer, where=""):
            raise DataError(
                f"{path} answers question {name} twice and differently ({first.where} and {answer.where}): give the "
                "answers of one model and one run only."
            )
    return tuple(found.values())


def plain_text(text: str) -> str:
    """A text for comparison: without case and without differences in white space."""
    return re.sub(r"\s+", " ", text).strip().casefold()


def percent(right: float, total: int) -> float | None:
    """`right` in percent of `total`; None without any."""
    return 100 * right / total if total else None
