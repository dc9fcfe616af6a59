"""LongVideoBench's validation set: `lvb_val.json`, `videos/<video_path>`, `subtitles/<subtitle_path>`.

See `docs/reference/benchmarks.md`, section 5. An item has `id`, `video_path`, `question`, `candidates` (up to five),
`correct_choice` (index), `duration` (seconds), `duration_group` (15, 60, 600, 3600), `topic_category`,
`question_category`, `subtitle_path` and `starting_timestamp_for_subtitles`. Videos are cut from longer ones, and the
subtitle file is that of the longer one.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sg.artefacts.answers import LETTERS
from sg.artefacts.names import safe_video_id
from sg.core.errors import DataError, MissingInputError
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked, labelled
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.layouts import (
    check_options,
    checked_seconds,
    duration_bucket,
    first_file,
    is_list_of_texts,
    read_items,
    value_of,
)
from sg.evaluate.official.plain import group_accuracies
from sg.evaluate.official.result import OfficialForms
from sg.evaluate.prompts import AuthorsWording, PromptConfig

HUB_ID = "longvideobench/LongVideoBench"
TABLE = "lvb_val.json"
UNUSED_OPTION = "N/A"


@dataclass
class LongVideoBenchConfig(BenchmarkConfig):
    """LongVideoBench's validation set."""

    subtitles: str = "covering"

    wordings: ClassVar[Mapping[str, PromptConfig | AuthorsWording]] = {
        "official": AuthorsWording(
            rule="longvideobench",
            question="Question: {question}",
            after="Answer with the option's letter from the given choices directly.",
        ),
        "video_mme": PromptConfig(),
    }
    official: ClassVar[OfficialForms] = OfficialForms(group_accuracies)


@BENCHMARKS.register("longvideobench", LongVideoBenchConfig)
def read_longvideobench(config: LongVideoBenchConfig) -> Benchmark:
    """Read a folder in the layout of LongVideoBench.

    `duration` is Video-MME's bucket of the video's length (the groups 15 and 60 are short, 600 medium, 3600 long),
    `domain` the group, `sub_category` the topic, `task_type` the question's category.

    Raises:
        MissingInputError: there is no table.
        DataError: the table has another format, or no answers (as in the test set).
    """
    folder = Path(config.folder).expanduser()
    path = folder / (config.table or TABLE)
    if not path.is_file():
        raise MissingInputError(
            f"There is no {path}: set benchmark.folder, or get it with `hf download {HUB_ID} --repo-type dataset "
            f"--local-dir {folder}` and unpack its archives there."
        )
    grouped: dict[str, list[dict[str, Any]]] = {}
    for number, item in enumerate(read_items(path)):
        grouped.setdefault(value_of(item, "video_path", str, f"{path}, item {number},"), []).append(item)
    videos = tuple(_video(folder, path, name, members) for name, members in grouped.items())
    return checked(Benchmark(config.name, config.revision, videos), path)


def _video(folder: Path, table: Path, name: str, members: list[dict[str, Any]]) -> BenchmarkVideo:
    item, where = members[0], f"{table}, video {name},"
    seconds = checked_seconds(item.get("duration"), "duration", where)
    start_key = "starting_timestamp_for_subtitles"
    start = checked_seconds(item[start_key], start_key, where) if item.get(start_key) else 0.0
    media_id = safe_video_id(Path(name).stem)
    subtitle = str(item.get("subtitle_path") or "")
    return BenchmarkVideo(
        video_id=media_id,
        media_id=media_id,
        duration=duration_bucket(seconds),
        domain=f"up to {item['duration_group']} s" if "duration_group" in item else "",
        sub_category=str(item.get("topic_category") or ""),
        questions=tuple(_question(member, table) for member in members),
        path=first_file(folder, ("videos", "."), name),
        subtitle_path=first_file(folder, ("subtitles", "."), subtitle) if subtitle else None,
        subtitle_span_s=(start, start + seconds),
    )


def _question(item: dict[str, Any], table: Path) -> Question:
    name = str(value_of(item, "id", (str, int), f"{table}, video {item['video_path']},"))
    where = f"{table}, question {name},"
    if "correct_choice" not in item:
        raise DataError(f"{where} has no 'correct_choice': only the validation set ({TABLE}) has answers.")
    right, candidates = value_of(item, "correct_choice", int, where), value_of(item, "candidates", list, where)
    if not is_list_of_texts(candidates) or not 0 <= right < len(candidates) or candidates[right] == UNUSED_OPTION:
        raise DataError(
            f"{where} has {right!r} as 'correct_choice', expected the index of one of {reprlib.repr(candidates)}."
        )
    options = labelled([text for text in candidates if text != UNUSED_OPTION])
    letter = LETTERS[right - candidates[:right].count(UNUSED_OPTION)]
    check_options(options, letter, where)
    return Question(
        question_id=name,
        task_type=str(item.get("question_category") or ""),
        text=value_of(item, "question", str, where),
        options=options,
        answer=letter,
    )
