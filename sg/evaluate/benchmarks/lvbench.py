"""LVBench: `video_info.meta.jsonl` with one video per line, and the videos as `video2dataset` or you stored them.

See `docs/reference/benchmarks.md`, section 4. The options are part of the stored question, as lines `(A) ..`. The
authors give no prompt and no frame rule; the prompt here is that of lmms-eval.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sg.artefacts.names import safe_video_id
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_record
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked, labelled
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.layouts import (
    check_options,
    checked_seconds,
    duration_bucket,
    files_by_stem,
    is_list_of_texts,
    value_of,
)
from sg.evaluate.official.lvbench import type_table
from sg.evaluate.official.result import OfficialForms
from sg.evaluate.prompts import AuthorsWording, PromptConfig
from sg.sources.files.disk import VIDEO_SUFFIXES

HUB_ID = "THUDM/LVBench"
TABLE = "video_info.meta.jsonl"
_OPTION = re.compile(r"\(([A-Z])\) (.*)")


@dataclass
class LvbenchConfig(BenchmarkConfig):
    """LVBench."""

    wordings: ClassVar[Mapping[str, PromptConfig | AuthorsWording]] = {
        "official": AuthorsWording(
            rule="lvbench", option="({letter}) {text}", after="Answer the question with the option letter"
        ),
        "video_mme": PromptConfig(),
    }
    official: ClassVar[OfficialForms] = OfficialForms(type_table, file_rule="lvbench_exact")


@BENCHMARKS.register("lvbench", LvbenchConfig)
def read_lvbench(config: LvbenchConfig) -> Benchmark:
    """Read a folder in the layout of LVBench. `domain` is the type of the video, `task_type` the question's types.

    Raises:
        MissingInputError: there is no table.
        DataError: a line is not a video with its questions.
    """
    folder = Path(config.folder).expanduser()
    path = folder / (config.table or TABLE)
    if not path.is_file():
        raise MissingInputError(
            f"There is no {path}: set benchmark.folder, or get it with `hf download {HUB_ID} --repo-type dataset "
            f"--local-dir {folder}`; the authors do not ship the videos."
        )
    files = _files(folder)
    videos = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            videos.append(_video(line, f"{path}, line {number},", files))
    return checked(Benchmark(config.name, config.revision, tuple(videos)), path)


def _files(folder: Path) -> dict[str, Path]:
    """The video files by the id of their video: their name, or the address in the JSON file beside them."""
    places = ("videos", "video", ".")
    files = files_by_stem(folder, places, VIDEO_SUFFIXES)
    for record in sorted((folder / "videos").glob("*/*.json")):
        file = next((path for path in record.parent.glob(f"{record.stem}.*") if path.suffix in VIDEO_SUFFIXES), None)
        url = read_record(record).get("url")
        if file is not None and isinstance(url, str):
            files.setdefault(re.split(r"[/=]", url.split("&")[0])[-1], file)
    return files


def _video(line: str, where: str, files: Mapping[str, Path]) -> BenchmarkVideo:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error}).") from error
    if not isinstance(item, dict):
        raise DataError(f"{where} is a {type(item).__name__}, expected an object with key, type and qa.")
    key, members = value_of(item, "key", str, where), value_of(item, "qa", list, where)
    minutes = value_of(item, "video_info", dict, where).get("duration_minutes")
    seconds = 60 * checked_seconds(minutes, "duration_minutes", where)
    return BenchmarkVideo(
        video_id=key,
        media_id=safe_video_id(key),
        duration=duration_bucket(seconds),
        domain=str(item.get("type") or ""),
        sub_category="",
        questions=tuple(_question(member, where) for member in members),
        path=files.get(key),
    )


def _question(item: Any, where: str) -> Question:
    if not isinstance(item, dict):
        raise DataError(f"{where} has a question that is a {type(item).__name__}, expected an object.")
    name = str(value_of(item, "uid", (str, int), where))
    here = f"{where} question {name}"
    stored, types = value_of(item, "question", str, here), value_of(item, "question_type", list, here)
    if not is_list_of_texts(types):
        raise DataError(f"{here} has a question type that is not a text.")
    text, options = text_and_options(stored)
    answer = value_of(item, "answer", str, here)
    check_options(options, answer, here)
    return Question(name, ", ".join(types), text, options, answer)


def text_and_options(stored: str) -> tuple[str, tuple[str, ...]]:
    """The text and the labelled options of a stored question.

    Four options without texts if its last lines are not `(A) ..`, `(B) ..` and so on: the text then contains them.
    """
    lines = stored.split("\n")
    found = [_OPTION.fullmatch(line) for line in lines]
    first = next((at for at, match in enumerate(found) if match and match[1] == "A"), len(lines))
    matches = [match for match in found[first:] if match]
    letters = "".join(match[1] for match in matches)
    if len(matches) >= 2 and len(matches) == len(lines) - first and "ABCDEFGHIJ".startswith(letters):
        return "\n".join(lines[:first]), labelled([match[2] for match in matches])
    return stored, ("A.", "B.", "C.", "D.")
