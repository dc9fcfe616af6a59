"""Your own questions: a JSONL file with one question per line.

    {"video": "videos/cat.mp4", "question": "What jumps?", "options": ["a cat", "a dog"], "answer": "a cat"}

`video` is a path inside the benchmark's folder. `answer` is a letter, an index from 0, or the text of an option.
Optional: `question_id`, `duration` (in seconds, or the name of a bucket), `domain`, `sub_category`, `task_type`,
`subtitles` (a path).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.names import resolve_inside, safe_video_id
from sg.core.content import file_content
from sg.core.errors import DataError, MissingInputError
from sg.evaluate.benchmark import (
    BENCHMARKS,
    Benchmark,
    BenchmarkVideo,
    Question,
    check_options,
    checked,
    duration_bucket,
    labelled,
    unlabelled,
)
from sg.evaluate.config import BenchmarkConfig

TABLE = "questions.jsonl"
NO_BUCKET = "all"


@dataclass
class CustomBenchmarkConfig(BenchmarkConfig):
    """Your own questions."""


@BENCHMARKS.register("custom", CustomBenchmarkConfig)
def read_custom(config: CustomBenchmarkConfig) -> Benchmark:
    """Read a JSONL file of questions; a missing video becomes rows with a reason.

    Raises:
        MissingInputError: there is no such file.
        DataError: a line is not a question, or its video lies outside the folder.
    """
    folder = Path(config.folder).expanduser()
    path = folder / (config.table or TABLE)
    if not path.is_file():
        raise MissingInputError(
            f"There is no {path}: set benchmark.folder and benchmark.table to a JSONL file with video, question, "
            "options and answer in each line."
        )
    grouped: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            item = _item(line, f"{path}, line {number},")
            grouped.setdefault(item["video"], []).append((number, item))
    videos = tuple(_video(folder, path, name, members) for name, members in grouped.items())
    return checked(Benchmark(config.name, config.revision, videos), path)


def _item(line: str, where: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error}).") from error
    if not isinstance(item, dict):
        raise DataError(
            f"{where} is a {type(item).__name__}, expected an object with video, question, options, answer."
        )
    for key, kind in (("video", str), ("question", str), ("options", list), ("answer", (str, int))):
        if not isinstance(item.get(key), kind) or (not item[key] and item[key] != 0):
            raise DataError(f"{where} has {item.get(key)!r} as {key!r}: expected video, question, options and answer.")
    return item


def _video(folder: Path, table: Path, name: str, members: Sequence[tuple[int, dict[str, Any]]]) -> BenchmarkVideo:
    number, item = members[0]
    where = f"{table}, line {number},"
    file = resolve_inside(folder, name)
    subtitles = resolve_inside(folder, item["subtitles"]) if isinstance(item.get("subtitles"), str) else None
    media_id = _media_id(file, name)
    return BenchmarkVideo(
        video_id=media_id,
        media_id=media_id,
        duration=_bucket(item.get("duration"), where),
        domain=str(item.get("domain") or ""),
        sub_category=str(item.get("sub_category") or ""),
        questions=tuple(_question(line, question, table) for line, question in members),
        path=file if file.is_file() else None,
        subtitle_path=subtitles if subtitles is not None and subtitles.is_file() else None,
    )


def _media_id(file: Path, name: str) -> str:
    """The video's name with its content: another file under the same name has other visual tokens."""
    return safe_video_id(f"{name}-{file_content(file)}" if file.is_file() else name)


def _bucket(value: Any, where: str) -> str:
    if value is None:
        return NO_BUCKET
    if isinstance(value, str) and value:
        return value
    if isinstance(value, (int, float)) and value > 0:
        return duration_bucket(float(value))
    raise DataError(f"{where} has {value!r} as 'duration', expected seconds or the name of a bucket.")


def _question(number: int, item: dict[str, Any], table: Path) -> Question:
    where = f"{table}, line {number},"
    options = tuple(str(option) for option in item["options"])
    if [option[:2] for option in options] != [option[:2] for option in labelled(options)]:
        options = labelled(options)
    answer = _letter(item["answer"], options)
    check_options(options, answer, where)
    name = item.get("question_id")
    return Question(
        question_id=str(number if name is None else name),
        task_type=str(item.get("task_type") or ""),
        text=item["question"],
        options=options,
        answer=answer,
    )


def _letter(answer: str | int, options: Sequence[str]) -> str:
    """The letter for an answer given as a letter, an index or an option's text; else the answer itself."""
    if isinstance(answer, int):
        return options[answer][0] if 0 <= answer < len(options) else str(answer)
    texts = [unlabelled(option) for option in options]
    if answer in options or texts.count(answer) == 1:
        return options[options.index(answer) if answer in options else texts.index(answer)][0]
    return answer.strip().rstrip(".")
