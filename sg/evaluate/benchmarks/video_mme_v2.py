"""Video-MME-v2: 800 videos with four questions each, eight options, and a score of groups of questions.

See `docs/reference/benchmarks.md`, section 1. The folder holds the hub's `test.parquet` with its archives
(`videos/001.zip` .., `subtitle.zip`), which are unpacked once, or with `videos/001.mp4` and `subtitle/001.jsonl`. The
four questions of a video are a group; the task type of a question is the kind of its group, such as `relevance` or
`logic [1, [2, 3], 4]`, so that the group score can be computed from a file of answers alone.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sg.artefacts.answer_rules.groups import GROUPS, RELEVANCE
from sg.artefacts.names import check_video_id
from sg.core.errors import ConfigError, DataError
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question
from sg.evaluate.benchmarks.video_mme import FileLayout, VideoMmeConfig, hub_benchmark, read_hub_table
from sg.evaluate.layouts import check_options
from sg.evaluate.official.result import OfficialForms
from sg.evaluate.official.video_mme_v2 import group_table
from sg.evaluate.prompts import VIDEO_MME_INSTRUCTION, AuthorsWording, PromptConfig
from sg.video.sampling import Interior

HUB_ID = "MME-Benchmarks/Video-MME-v2"
TABLE_PLACES = ("test.parquet", "data/test.parquet", "data/test-00000-of-00001.parquet")
COLUMNS = (
    *("video_id", "group_type", "group_structure", "question_id", "question", "options", "answer"),
    *("level", "second_head", "third_head"),
)
GROUP_SIZE = 4
LAYOUT = FileLayout("videos/*.zip", "videos", subtitle_suffixes=(".jsonl",))
REASONING = (
    "Please perform a detailed reasoning based on the provided video frames to answer the following multiple-choice "
    "question selecting the best option from A through H and providing your final response strictly in the format: "
    "'Final Answer: <letter>."
)


def _wording(after: str) -> AuthorsWording:
    return AuthorsWording(
        rule="video_mme_v2",
        before="These are the frames of a video.",
        subtitle_header=" This video's subtitles are listed below:",
        separator=" ",
        question="Question: {question}",
        after=after,
    )


@dataclass
class VideoMmeV2Config(VideoMmeConfig):
    """Video-MME-v2. `num_frames` frames are shown at the authors' places; null takes the model's own sampling."""

    subtitles: str = "transcript"
    num_frames: int | None = 64

    wordings: ClassVar[Mapping[str, PromptConfig | AuthorsWording]] = {
        "official": _wording(VIDEO_MME_INSTRUCTION),
        "reasoning": _wording(REASONING),
        "video_mme": PromptConfig(),
    }
    official: ClassVar[OfficialForms] = OfficialForms(group_table, has_groups=True)

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        super().__post_init__()
        if self.num_frames is not None and self.num_frames < 1:
            raise ConfigError(f"benchmark.num_frames={self.num_frames} should be 1 or more, or null.")


@BENCHMARKS.register("video_mme_v2", VideoMmeV2Config)
def read_video_mme_v2(config: VideoMmeV2Config) -> Benchmark:
    """Read a folder in the layout of Video-MME-v2; files that only its archives hold are unpacked.

    `duration` is the level of the group, which is that of its last question.

    Raises:
        MissingInputError: there is no table.
        ConfigError: see `read_video_mme`.
        DataError: the table has another schema, a video without four questions, or an unknown group.
    """
    folder, path, rows_of = read_hub_table(config, TABLE_PLACES, HUB_ID, COLUMNS)
    frames = None if config.num_frames is None else Interior(config.num_frames)
    videos = tuple(_video(rows, path, frames) for rows in rows_of.values())
    return hub_benchmark(config, folder, path, videos, LAYOUT)


def _video(rows: list[dict[str, Any]], path: Path, frames: Interior | None) -> BenchmarkVideo:
    name = rows[0]["video_id"]
    if len(rows) != GROUP_SIZE:
        raise DataError(f"{path}: video {name} has {len(rows)} questions, expected a group of {GROUP_SIZE}.")
    level = _level(rows[-1]["level"])
    return BenchmarkVideo(
        video_id=name,
        media_id=check_video_id(name),
        duration=f"level_{level}",
        domain="",
        sub_category="",
        questions=tuple(_question(row, path) for row in rows),
        frames=frames,
    )


def _level(value: Any) -> str:
    """The level as a text: 1, "1" and 1.0 are the same; None is "None"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _question(row: Mapping[str, Any], path: Path) -> Question:
    where = f"{path}: question {row['question_id']}"
    texts = [row[key] for key in ("question_id", "question", "options", "answer", "group_type")]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where} has an empty or wrongly typed cell: expected texts.")
    options = tuple(row["options"].split("\n"))
    check_options(options, row["answer"], where)
    return Question(
        question_id=row["question_id"],
        task_type=_group(row["group_type"], row["group_structure"], where),
        text=row["question"],
        options=options,
        answer=row["answer"],
        domain=str(row["second_head"]),
        sub_category=str(row["third_head"]),
    )


def _group(kind: str, structure: Any, where: str) -> str:
    """The task type of a group's questions: `relevance`, or `logic` with its structure."""
    try:
        name = RELEVANCE if kind == RELEVANCE else f"{kind} {ast.literal_eval(str(structure))}"
    except (ValueError, SyntaxError):
        name = ""
    if name not in GROUPS:
        raise DataError(f"{where} is of a group {kind!r} {structure!r}, expected one of {', '.join(GROUPS)}.")
    return name
