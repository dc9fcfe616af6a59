"""Writes the official result file, which the leaderboard takes too: JSON, one object per video."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.predictions import Prediction
from sg.core.errors import DataError
from sg.core.files import write_json

if TYPE_CHECKING:
    from sg.evaluate.benchmark import Benchmark


def check_all_asked(benchmark: Benchmark, asked: Container[str]) -> None:
    """Raise DataError if a question of the benchmark is not among the ids that were asked."""
    for question in benchmark.questions:
        if question.question_id not in asked:
            raise DataError(f"question {question.question_id} was not asked: finish the evaluation first.")


def write_submission(path: Path, benchmark: Benchmark, rows: Sequence[Prediction]) -> None:
    """Write the rows of one setting as an official result file. A question without an answer gets the response "".

    Raises:
        DataError: a question of the benchmark has no row.
    """
    responses = {row.question_id: row.response for row in rows}
    check_all_asked(benchmark, responses)
    videos = []
    for video in benchmark.videos:
        questions = []
        for question in video.questions:
            questions.append(
                {
                    "question_id": question.question_id,
                    "task_type": question.task_type,
                    "question": question.text,
                    "options": list(question.options),
                    "answer": question.answer,
                    "response": responses[question.question_id],
                }
            )
        names = {"video_id": video.video_id, "duration": video.duration}
        categories = {"domain": video.domain, "sub_category": video.sub_category}
        videos.append({**names, **categories, "questions": questions})
    write_json(path, videos)
