"""Reads the official result file of Video-MME, which the leaderboard takes too: JSON, one object per video.

Any such file can be scored, so models that this project does not run can be compared too.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg.artefacts.answer_rules.question import Question
from sg.artefacts.answer_rules.rules import answer_rule
from sg.artefacts.answers import LETTERS, OFFICIAL_LETTERS
from sg.artefacts.predictions import SETTINGS, WITHOUT_SUBTITLES, Prediction, read_predictions
from sg.core.errors import DataError, MissingInputError

# Names of the keys in files from before 2024-06-18.
_OLD_NAMES = {
    "duration_category": "duration",
    "video_category": "domain",
    "video_subcategory": "sub_category",
    "choices": "options",
}


def _text(item: Mapping[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where} has {value!r} as {key!r}, expected text.")
    return value


def _current_names(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise DataError(f"{where} is a {type(item).__name__}, expected an object.")
    return {_OLD_NAMES.get(str(key), str(key)): value for key, value in item.items()}


def _question(question: dict[str, Any], video: dict[str, Any], setting: str, reader: str, where: str) -> Prediction:
    response, answer = _text(question, "response", where), _text(question, "answer", where)
    options = question.get("options") or list(OFFICIAL_LETTERS)
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
        raise DataError(
            f"{where} has {reprlib.repr(options)} as 'options', expected a list of 2 to {len(LETTERS)} texts."
        )
    letters = LETTERS[: len(options)]
    if answer not in tuple(letters):
        raise DataError(f"{where} has the answer {answer!r}, expected one of {', '.join(letters)}.")
    name, task_type = _text(question, "question_id", where), _text(question, "task_type", where)
    asked = Question(name, task_type, "", tuple(options), answer)
    return Prediction(
        question_id=name,
        setting=setting,
        answer=answer,
        task_type=task_type,
        response=response,
        letter=answer_rule(reader)(asked, response).letter,
        num_options=len(letters),
        **video,
    )


def setting_of(path: Path) -> str:
    """The setting in the name of a result file that `write_submissions` wrote; otherwise without subtitles."""
    return next((setting for setting in SETTINGS if path.stem.endswith(setting)), WITHOUT_SUBTITLES)


def read_answers(path: Path) -> list[Prediction]:
    """The rows of our `predictions.jsonl`, or of an official result file (`.json`).

    Raises:
        MissingInputError: there is no such file.
        DataError: the file has another format.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no file of answers {path}: give our predictions.jsonl or an official JSON.")
    return read_predictions(path) if path.suffix == ".jsonl" else read_submission(path, setting_of(path))


def read_submission(path: Path, setting: str = WITHOUT_SUBTITLES, reader: str = "official") -> list[Prediction]:
    """The rows of an official result file (also in the layout before 2024-06-18); `reader` extracts the letters.

    Raises:
        DataError: the file is not a result file, a video has no questions, a response is missing, or a question occurs
            twice.
    """
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); commas before a closing bracket are not allowed.") from error
    if not isinstance(data, list):
        raise DataError(f"{path} holds a {type(data).__name__}, expected a list with one object per video.")
    rows: dict[str, Prediction] = {}
    for number, item in enumerate(data, start=1):
        where = f"{path}, video {number},"
        video = _current_names(item, where)
        columns: dict[str, Any] = {
            key: _text(video, key, where) for key in ("video_id", "duration", "domain", "sub_category")
        }
        questions = video.get("questions")
        if not isinstance(questions, list) or not questions:
            raise DataError(
                f"{where} {columns['video_id']}, has {reprlib.repr(questions)} as 'questions', expected a list of "
                f"questions: without them the score would leave this video out (its keys are {', '.join(video)})."
            )
        for index, question in enumerate(questions, start=1):
            here = f"{path}, video {columns['video_id']}, question {index},"
            row = _question(_current_names(question, here), columns, setting, reader, here)
            if row.question_id in rows:
                raise DataError(f"{path} holds question {row.question_id} twice: question ids must be unique.")
            rows[row.question_id] = row
    return list(rows.values())
