"""MLVU's choice tasks (dev set): `json/1_plotQA.json` .. `json/7_topic_reasoning.json` with one folder of videos each.

See `docs/reference/benchmarks.md`, section 5. An item has `video`, `duration` (seconds), `question`, `candidates`
(texts) and `answer` (the text of the right one). The two tasks without candidates have open questions, which are not
scored by letters, and are left out.
"""

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sg.artefacts.names import safe_video_id
from sg.core.errors import DataError, MissingInputError
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked, labelled
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig, whole_answers
from sg.evaluate.layouts import (
    check_options,
    checked_seconds,
    duration_bucket,
    first_file,
    is_list_of_texts,
    read_items,
    value_of,
)
from sg.evaluate.official.mvbench import task_mean_table
from sg.evaluate.official.result import OfficialForms
from sg.evaluate.prompts import AuthorsWording, PromptConfig

HUB_ID = "MLVU/MVLU"
TABLE_FOLDERS = ("json", "MLVU/json", ".")


@dataclass
class MlvuConfig(BenchmarkConfig):
    """The choice tasks of MLVU's dev set."""

    answering: AnsweringConfig = field(default_factory=whole_answers)

    wordings: ClassVar[Mapping[str, PromptConfig | AuthorsWording]] = {
        "official": AuthorsWording(
            rule="mlvu",
            before="Carefully watch this video and pay attention to every detail. Based on your observations, select "
            "the best option that accurately addresses the question.",
            question="Question: {question}",
            options="Options:",
            option="({letter}) {text}",
            after="Only give the best option.",
            reply="Best option:(",
        ),
        "video_mme": PromptConfig(),
    }
    official: ClassVar[OfficialForms] = OfficialForms(task_mean_table)


@BENCHMARKS.register("mlvu", MlvuConfig)
def read_mlvu(config: MlvuConfig) -> Benchmark:
    """Read a folder in the layout of MLVU. `domain` and `task_type` are the task; duration buckets are Video-MME's.

    Raises:
        MissingInputError: there are no tables.
        DataError: a table has another format.
    """
    folder = Path(config.folder).expanduser()
    tables = _tables(folder)
    if not tables:
        raise MissingInputError(
            f"The folder of benchmark {config.name!r}, {folder}, has no tables such as json/1_plotQA.json: set "
            f"benchmark.folder, or get it with `hf download {HUB_ID} --repo-type dataset --local-dir {folder}`."
        )
    videos = tuple(video for table in tables for video in _videos(table))
    return checked(Benchmark(config.name, config.revision, videos), tables[0].parent)


def _tables(folder: Path) -> list[Path]:
    """The task files, ordered by their numbers."""
    for place in TABLE_FOLDERS:
        found = sorted((folder / place).glob("[0-9]*_*.json"))
        if found:
            return found
    return []


def _videos(table: Path) -> Iterator[BenchmarkVideo]:
    """The videos of one task with their questions, in the order of the table."""
    grouped: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, item in enumerate(read_items(table)):
        if item.get("candidates"):
            grouped.setdefault(value_of(item, "video", str, f"{table}, item {number},"), []).append((number, item))
    for name, members in grouped.items():
        yield _video(table, name, members)


def _video(table: Path, name: str, members: list[tuple[int, dict[str, Any]]]) -> BenchmarkVideo:
    task, root = table.stem, table.parent.parent if table.parent.name == "json" else table.parent
    kind = task.split("_", 1)[1]
    seconds = checked_seconds(members[0][1].get("duration"), "duration", f"{table}, video {name},")
    media_id = safe_video_id(f"{task}-{Path(name).stem}")
    return BenchmarkVideo(
        video_id=media_id,
        media_id=media_id,
        duration=duration_bucket(seconds),
        domain=kind,
        sub_category="",
        questions=tuple(_question(table, number, kind, item) for number, item in members),
        path=first_file(root, [f"video/{task}", f"video/{kind}", "video", f"videos/{task}", "videos"], name),
    )


def _question(table: Path, number: int, kind: str, item: dict[str, Any]) -> Question:
    where = f"{table}, item {number},"
    candidates, answer = item["candidates"], item.get("answer")
    text = value_of(item, "question", str, where)
    if not is_list_of_texts(candidates) or candidates.count(answer) != 1:
        raise DataError(
            f"{where} has the answer {reprlib.repr(answer)}, expected one of its candidates {reprlib.repr(candidates)}."
        )
    options = labelled(candidates)
    letter = options[candidates.index(answer)][0]
    check_options(options, letter, where)
    return Question(f"{table.stem}-{number}", kind, text, options, letter)
