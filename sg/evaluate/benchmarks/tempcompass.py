"""TempCompass: the three tasks that are scored by rule, `questions/<task>.json`, `meta_info.json`, `videos/<id>.mp4`.

See `docs/reference/benchmarks.md`, section 3. A task file is `{video id: {dimension: [{question, answer}]}}`; the hub's
Parquet tables (`multi-choice/*.parquet` ..) are read too. `domain` is the task, `task_type` the dimension,
`sub_category` the fine type of `meta_info.json`.
"""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from sg.artefacts.answer_rules.tempcompass import CAPTION_MATCHING, TASKS, YES_NO, parts_of
from sg.artefacts.names import safe_video_id
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json
from sg.core.mistakes import check_choice
from sg.evaluate.archives import unpack
from sg.evaluate.benchmark import BENCHMARKS, Benchmark, BenchmarkVideo, Question, checked
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig, whole_answers
from sg.evaluate.layouts import NO_BUCKET, check_options, files_by_stem, value_of
from sg.evaluate.official.result import OfficialForms
from sg.evaluate.official.tempcompass import dimension_tables
from sg.evaluate.prompts import AuthorsWording, Prompt, PromptConfig
from sg.sources.files.disk import VIDEO_SUFFIXES

HUB_ID = "lmms-lab/TempCompass"
ORDER = "order"
"""The dimension without fine types: its fine type is itself."""
META = "meta_info.json"


@dataclass(frozen=True)
class TempCompassWording(AuthorsWording):
    """The question as it is stored, and the request of its task."""

    after_yes_no: str = "Please answer yes or no:"

    def prompt(self, question: Question, subtitle_lines: Sequence[str] | None = None) -> Prompt:
        """The prompt without the video's placeholder; see `PromptConfig.prompt`."""
        is_yes_no = question.domain == YES_NO
        option = {YES_NO: "", CAPTION_MATCHING: "{text}"}.get(question.domain, self.option)
        after = self.after_yes_no if is_yes_no else self.after
        return AuthorsWording(self.rule, option=option, after=after).prompt(question, subtitle_lines)


@dataclass
class TempCompassConfig(BenchmarkConfig):
    """TempCompass; `tasks` are the ones that are asked."""

    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    answering: AnsweringConfig = field(default_factory=whole_answers)

    wordings: ClassVar[Mapping[str, PromptConfig | AuthorsWording]] = {
        "official": TempCompassWording(rule="tempcompass", after="Please directly give the best option:"),
        "video_mme": PromptConfig(),
    }
    official: ClassVar[OfficialForms] = OfficialForms(dimension_tables)

    def __post_init__(self) -> None:
        """Refuse unknown tasks."""
        super().__post_init__()
        for task in self.tasks:
            check_choice("benchmark.tasks", task, TASKS)


@BENCHMARKS.register("tempcompass", TempCompassConfig)
def read_tempcompass(config: TempCompassConfig) -> Benchmark:
    """Read a folder in the layout of TempCompass, or of its copy on the hub.

    Raises:
        MissingInputError: a task has no table.
        DataError: a table has another format, or an answer is none of the options of its question.
    """
    folder = Path(config.folder).expanduser()
    path = folder / META
    meta = read_json(path) if path.is_file() else {}
    questions: dict[str, list[Question]] = {}
    for task in config.tasks:
        counts: dict[tuple[str, str], int] = {}
        for video, dim, where, item in _items(folder, task):
            number = counts[video, dim] = counts.get((video, dim), -1) + 1
            name = f"{task}-{video}-{dim}-{number}"
            questions.setdefault(video, []).append(_question(task, dim, name, fine_type(meta, video, dim), item, where))
    videos = tuple(
        BenchmarkVideo(name, safe_video_id(name), NO_BUCKET, "", "", tuple(members))
        for name, members in questions.items()
    )
    return checked(Benchmark(config.name, config.revision, _with_files(videos, folder)), folder)


def fine_type(meta: Mapping[str, Any], video: str, dim: str) -> str:
    """The fine type of a dimension of a video in `meta_info.json`; "" if it has none."""
    found = (meta.get(video) or {}).get("eval_dim", {}).get(dim)
    return ORDER if dim == ORDER else str(found.get("type", "")) if isinstance(found, dict) else ""


def _items(folder: Path, task: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(video id, dimension, place in the table for errors, question) of a task, in the order of its table."""
    places = (folder / "questions" / f"{task}.json", folder / f"{task}.json")
    path = next((one for one in places if one.is_file()), None)
    if path is None:
        yield from _parquet_items(folder, task)
        return
    table = read_json(path)
    for video, dims in (table if isinstance(table, dict) else {"": None}).items():
        for dim, items in (dims if isinstance(dims, dict) else {"": None}).items():
            where = f"{path}, video {video}, {dim},"
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise DataError(f"{where} is not a list of questions: expected {{video id: {{dimension: [...]}}}}.")
            for item in items:
                yield str(video), str(dim), where, item


def _parquet_items(folder: Path, task: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted((folder / task).glob("[!.]*.parquet"))
    if not paths:
        raise MissingInputError(
            f"TempCompass has no questions/{task}.json and no {task}/*.parquet in {folder}: set benchmark.folder, or "
            f"get it with `hf download {HUB_ID} --repo-type dataset --local-dir {folder}`."
        )
    for path in paths:
        try:
            rows = pq.read_table(path, columns=["video_id", "question", "answer", "dim"]).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
        for number, row in enumerate(rows):
            yield str(row["video_id"]), str(row["dim"]), f"{path}, row {number},", row


def _question(task: str, dim: str, name: str, kind: str, item: dict[str, Any], where: str) -> Question:
    text, answer = value_of(item, "question", str, where), value_of(item, "answer", str, where)
    text, options, letter = parts_of(task, text, answer)
    if not letter:
        raise DataError(f"{where} has the answer {reprlib.repr(answer)}, which is none of its options.")
    check_options(options, letter, where)
    return Question(name, dim, text, options, letter, domain=task, sub_category=kind)


def _with_files(videos: tuple[BenchmarkVideo, ...], folder: Path) -> tuple[BenchmarkVideo, ...]:
    files = files_by_stem(folder, ("videos", "video", "."), VIDEO_SUFFIXES)
    missing = [video.video_id for video in videos if video.video_id not in files]
    unpacked = unpack(folder, "*videos.zip", VIDEO_SUFFIXES, folder / "videos", missing)
    found = {**unpacked.paths, **files}
    return tuple(
        replace(
            video, path=found.get(video.video_id), problem=unpacked.problems.get(video.video_id, unpacked.incomplete)
        )
        for video in videos
    )
