"""Your own questions: a JSONL file with one question per line.

    {"video": "videos/cat.mp4", "question": "What jumps?", "options": ["a cat", "a dog"], "answer": "a cat"}

`video` is a path inside the benchmark's folder. `answer` is the text of an option, its letter, or its index from 0. An
answer that fits several options, such as 1 for the options 1, 2, 3, is an error; with its letter ("B. 2") it is clear.
Optional: `question_id`, `duration` (in seconds, or the name of a bucket), `domain`, `sub_category`, `task_type`,
`subtitles` (a path).
"""

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from sg.artefacts.answers import LETTERS
from sg.artefacts.names import resolve_inside, safe_video_id
from sg.core.content import file_content
from sg.core.errors import DataError, MissingInputError
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked, labelled, unlabelled
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.layouts import NO_BUCKET, check_options, checked_seconds, duration_bucket

TABLE = "questions.jsonl"
OPTIONAL_TEXTS = ("domain", "sub_category", "task_type", "subtitles")


@dataclass
class CustomBenchmarkConfig(BenchmarkConfig):
    """Your own questions."""


@BENCHMARKS.register("custom", CustomBenchmarkConfig)
def read_custom(config: CustomBenchmarkConfig) -> Benchmark:
    """Read a JSONL file of questions; a missing video becomes rows with a reason.

    Raises:
        MissingInputError: there is no such file.
        DataError: a line is not a question, its answer fits none or several of the options, lines contradict each other
            about their video, or the video lies outside the folder.
    """
    folder = Path(config.folder).expanduser()
    path = folder / (config.table or TABLE)
    if not path.is_file():
        raise MissingInputError(
            f"There is no {path}: set benchmark.folder and benchmark.table to a JSONL file with video, question, "
            "options and answer in each line."
        )
    grouped: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            item = _item(line, f"{path}, line {number},")
            grouped.setdefault(item["video"], []).append((number, item))
    videos = tuple(_video(folder, path, name, members) for name, members in grouped.items())
    return checked(Benchmark(config.name, config.revision, videos), path)


def _item(line: str, where: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error}).") from error
    if not isinstance(item, dict):
        raise DataError(
            f"{where} is a {type(item).__name__}, expected an object with video, question, options, answer."
        )
    for key, kind in (("video", str), ("question", str), ("options", list), ("answer", (str, int))):
        if not isinstance(item.get(key), kind) or (not item[key] and item[key] != 0):
            raise DataError(
                f"{where} has {reprlib.repr(item.get(key))} as {key!r}: expected video, question, options and answer."
            )
    for key in OPTIONAL_TEXTS:
        if not isinstance(item.get(key, ""), (str, NoneType)):
            raise DataError(f"{where} has {reprlib.repr(item[key])} as {key!r}, expected a text.")
    if isinstance(item.get("question_id"), bool) or not isinstance(item.get("question_id"), (str, int, NoneType)):
        raise DataError(
            f"{where} has {reprlib.repr(item['question_id'])} as 'question_id', expected a text or integer."
        )
    return item


def _video(folder: Path, table: Path, name: str, members: Sequence[tuple[int, dict[str, Any]]]) -> BenchmarkVideo:
    facts: dict[str, Any] = {}
    for number, item in members:
        for key in ("duration", "domain", "sub_category", "subtitles"):
            if item.get(key) is not None and facts.setdefault(key, item[key]) != item[key]:
                raise DataError(
                    f"{table}, line {number}, has {reprlib.repr(item[key])} as {key!r}, but an earlier line of video "
                    f"{name} has {reprlib.repr(facts[key])}: a video has one value."
                )
    file = resolve_inside(folder, name)
    subtitles = resolve_inside(folder, facts["subtitles"]) if facts.get("subtitles") else None
    media_id = _media_id(file, name)
    return BenchmarkVideo(
        video_id=media_id,
        media_id=media_id,
        duration=_bucket(facts.get("duration"), f"{table}, line {members[0][0]},"),
        domain=facts.get("domain", ""),
        sub_category=facts.get("sub_category", ""),
        questions=tuple(_question(line, question, table) for line, question in members),
        path=file if file.is_file() else None,
        subtitle_path=subtitles if subtitles is not None and subtitles.is_file() else None,
    )


def _media_id(file: Path, name: str) -> str:
    """The video's name with its content: another file under the same name has other visual tokens."""
    try:
        return safe_video_id(f"{name}-{file_content(file)}")
    except OSError:
        return safe_video_id(name)  # missing or unreadable: its rows get a status and a reason


def _bucket(value: Any, where: str) -> str:
    if value is None:
        return NO_BUCKET
    if isinstance(value, str) and value.strip():
        return value
    return duration_bucket(checked_seconds(value, "duration", where))


def _question(number: int, item: dict[str, Any], table: Path) -> Question:
    where = f"{table}, line {number},"
    texts = [_option_text(option, where) for option in item["options"]]
    options = tuple(texts)
    if [option[:2] for option in options] == [option[:2] for option in labelled(options)]:
        texts = [unlabelled(option) for option in options]
    else:
        options = labelled(options)
    check_options(options, LETTERS[0], where)
    name = item.get("question_id")
    return Question(
        question_id=str(number if name is None else name),
        task_type=item.get("task_type") or "",
        text=item["question"],
        options=options,
        answer=_letter(item["answer"], options, texts, where),
    )


def _option_text(option: Any, where: str) -> str:
    if isinstance(option, (str, bool, int)) and str(option).strip():
        return str(option)
    if isinstance(option, float) and math.isfinite(option):
        return str(option)
    raise DataError(f"{where} has the option {reprlib.repr(option)}, expected a text or a number.")


def _letter(answer: str | int, options: Sequence[str], texts: Sequence[str], where: str) -> str:
    """The letter of the one option that `answer` means; DataError if it fits none of the options, or several."""
    letters = LETTERS[: len(options)]
    fitting = [
        letter
        for at, letter in enumerate(letters)
        if _is_text_of(answer, texts[at].strip()) or _names_place(answer, letter, at, options[at])
    ]
    if len(fitting) == 1:
        return fitting[0]
    which = f"which can mean {' and '.join(fitting)}" if fitting else "which fits none"
    raise DataError(
        f"{where} has the answer {reprlib.repr(answer)}, {which} of {', '.join(map(repr, options))}: give the option "
        f"with its letter, such as {options[0]!r}."
    )


def _is_text_of(answer: str | int, text: str) -> bool:
    if isinstance(answer, str):
        return answer.strip() == text
    if isinstance(answer, bool):
        return text.lower() == str(answer).lower()
    try:
        return float(text) == answer
    except ValueError:
        return False


def _names_place(answer: str | int, letter: str, index: int, option: str) -> bool:
    """True for the letter, the index, or the text with its letter. True and false are not indices."""
    if isinstance(answer, str):
        return answer.strip() in (letter, f"{letter}.", option.strip())
    return answer == index and not isinstance(answer, bool)
