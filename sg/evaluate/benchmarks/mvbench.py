"""MVBench: twenty tasks, `json/<task>.json` (or `test.json` of the branch `video`) and the videos of eleven sources.

See `docs/reference/benchmarks.md`, section 2. An item has `video`, `question`, `candidates` (texts), `answer` (the text
of one), and for five tasks `start` and `end` in seconds. The videos of one task are folders of JPEG files.
"""

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from sg.artefacts.answer_rules.mvbench import task_file
from sg.artefacts.answers import LETTERS
from sg.artefacts.names import check_relative_path, safe_video_id
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import read_json
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked, labelled
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig, whole_answers
from sg.evaluate.layouts import NO_BUCKET, check_options, first_file, is_list_of_texts, read_items, value_of
from sg.evaluate.official.mvbench import task_table
from sg.evaluate.official.result import OfficialForms
from sg.evaluate.prompts import AuthorsWording, PromptConfig
from sg.video.sampling import MiddlesBetween

HUB_ID = "OpenGVLab/MVBench"
TASKS = {
    "Action Sequence": "star/Charades_v1_480",
    "Action Prediction": "star/Charades_v1_480",
    "Action Antonym": "ssv2_video",
    "Fine-grained Action": "Moments_in_Time_Raw/videos",
    "Unexpected Action": "FunQA_test/test",
    "Object Existence": "clevrer/video_validation",
    "Object Interaction": "star/Charades_v1_480",
    "Object Shuffle": "perception/videos",
    "Moving Direction": "clevrer/video_validation",
    "Action Localization": "sta/sta_video",
    "Scene Transition": "scene_qa/video",
    "Action Count": "perception/videos",
    "Moving Count": "clevrer/video_validation",
    "Moving Attribute": "clevrer/video_validation",
    "State Change": "perception/videos",
    "Fine-grained Pose": "nturgbd",
    "Character Order": "perception/videos",
    "Egocentric Navigation": "vlnqa",
    "Episodic Reasoning": "tvqa/frames_fps3_hq",
    "Counterfactual Inference": "clevrer/video_validation",
}
"""The tasks in the official order, and the folder of each one's videos."""


@dataclass
class MvbenchConfig(BenchmarkConfig):
    """MVBench. `num_frames` frames are shown, at the authors' places between the start and the end of a question."""

    num_frames: int = 16
    answering: AnsweringConfig = field(default_factory=whole_answers)

    wordings: ClassVar[Mapping[str, PromptConfig | AuthorsWording]] = {
        "official": AuthorsWording(
            rule="mvbench",
            before="Carefully watch the video and pay attention to the cause and sequence of events, the detail and "
            "movement of objects, and the action and pose of persons. Based on your observations, select the best "
            "option that accurately addresses the question.",
            question="Question: {question}",
            options="Options:",
            option="({letter}) {text}",
            after="Only give the best option.",
            reply="Best option:(",
        ),
        "video_mme": PromptConfig(),
    }
    official: ClassVar[OfficialForms] = OfficialForms(task_table)

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        super().__post_init__()
        if self.num_frames < 1:
            raise ConfigError(f"benchmark.num_frames={self.num_frames} should be 1 or more.")


@BENCHMARKS.register("mvbench", MvbenchConfig)
def read_mvbench(config: MvbenchConfig) -> Benchmark:
    """Read a folder in the layout of MVBench. `task_type` is the task; the benchmark has no duration buckets.

    Raises:
        MissingInputError: there is no table.
        DataError: a table has another format, or an answer is none of its candidates.
    """
    folder = Path(config.folder).expanduser()
    grouped: dict[str, tuple[BenchmarkVideo, list[Question]]] = {}
    for task, place, where, number, item in _items(folder, config):
        video = _video(folder, place, where, item, config.num_frames)
        question = _question(task, number, where, item)
        grouped.setdefault(video.media_id, (video, []))[1].append(question)
    if not grouped:
        raise MissingInputError(
            f"The folder of benchmark {config.name!r}, {folder}, has no tables such as json/action_sequence.json: set "
            f"benchmark.folder, or get it with `hf download {HUB_ID} --repo-type dataset --local-dir {folder}` and "
            "unpack its archives in video/."
        )
    videos = tuple(replace(video, questions=tuple(questions)) for video, questions in grouped.values())
    return checked(Benchmark(config.name, config.revision, videos), folder)


def _items(folder: Path, config: MvbenchConfig) -> Iterator[tuple[str, str, str, int, dict[str, Any]]]:
    """(task, folder of its videos, place in the table for errors, number in its task, item), in the official order."""
    for task, place, path, items in _tables(folder, folder / (config.table or "test.json")):
        if not isinstance(items, list):
            raise DataError(f"{path} holds a {type(items).__name__} for task {task}, expected a list of questions.")
        for number, item in enumerate(items):
            where = f"{path}, task {task}, item {number},"
            if not isinstance(item, dict):
                raise DataError(f"{where} is a {type(item).__name__}, expected an object.")
            yield task, place.strip("/"), where, number, item


def _tables(folder: Path, table: Path) -> Iterator[tuple[str, str, Path, Any]]:
    """(task, folder of its videos, file, items), from the table of the branch `video` if there is one."""
    if not table.is_file():
        paths = {task: folder / "json" / f"{task_file(task)}.json" for task in TASKS}
        yield from ((task, TASKS[task], path, read_items(path)) for task, path in paths.items() if path.is_file())
        return
    content = read_json(table)
    root, meta = (content.get(key) if isinstance(content, dict) else None for key in ("root", "meta"))
    if not isinstance(root, dict) or not isinstance(meta, dict):
        raise DataError(f"{table} is not the table of MVBench's branch `video`: expected 'root' and 'meta'.")
    yield from ((task, str(root.get(task, TASKS.get(task, ""))), table, items) for task, items in meta.items())


def _video(folder: Path, place: str, where: str, item: dict[str, Any], count: int) -> BenchmarkVideo:
    name = check_relative_path(value_of(item, "video", str, where))
    span = [value_of(item, key, (int, float), where) for key in ("start", "end")] if item.get("end") is not None else []
    last = PurePosixPath(place).name
    places = [f"video/{place}", place, f"videos/{place}", f"video/{last}", last, "video", "videos"]
    pictures = next((folder / one / name for one in places if (folder / one / name).is_dir()), None)
    bounds = "".join(f"-{second:g}" for second in span)
    stem = f"{place.split('/')[0]}-{PurePosixPath(name).with_suffix('')}{bounds}"
    media_id = safe_video_id(stem.replace("/", "-"))
    start, end = span or (None, None)
    return BenchmarkVideo(
        video_id=media_id,
        media_id=media_id,
        duration=NO_BUCKET,
        domain="",
        sub_category="",
        questions=(),
        path=pictures or first_file(folder, places, name),
        frames=MiddlesBetween(count, start, end, first=0 if pictures is None else 1),
    )


def _question(task: str, number: int, where: str, item: dict[str, Any]) -> Question:
    candidates, answer = value_of(item, "candidates", list, where), value_of(item, "answer", str, where)
    if not is_list_of_texts(candidates) or answer not in candidates:
        raise DataError(
            f"{where} has the answer {reprlib.repr(answer)}, expected one of its candidates {reprlib.repr(candidates)}."
        )
    # Of equal candidates the last one is right, as officially.
    letter = LETTERS[len(candidates) - 1 - candidates[::-1].index(answer)]
    options = labelled(candidates)
    check_options(options, letter, where)
    return Question(f"{task_file(task)}-{number}", task, value_of(item, "question", str, where), options, letter)
