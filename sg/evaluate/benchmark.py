"""Benchmarks as this project sees them: videos with questions, and where their files lie.

A reader turns a folder into a `Benchmark`; everything after it (prompts, answering, scores) knows no format. The one
for Video-MME also reads the demo world's benchmark, which has the same columns and folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sg.artefacts.names import check_video_id
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.fingerprints import fingerprint
from sg.evaluate.answers import LETTERS
from sg.evaluate.config import BenchmarkConfig

COLUMNS = (
    *("video_id", "duration", "domain", "sub_category", "videoID", "question_id", "task_type"),
    *("question", "options", "answer"),
)
TABLE_PLACES = ("videomme/test-00000-of-00001.parquet", "test-00000-of-00001.parquet")
VIDEO_FOLDERS = ("videos", "data", ".")
VIDEO_SUFFIXES = (".mp4", ".MP4", ".mkv")
SUBTITLE_FOLDERS = ("subtitle", "subtitles", ".")


@dataclass(frozen=True, slots=True)
class Question:
    """One question with four options, which begin with "A. " to "D. "; `answer` is the right letter."""

    question_id: str
    task_type: str
    text: str
    options: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class BenchmarkVideo:
    """One video and its questions.

    `video_id` is the benchmark's number ("001"), `media_id` the name of its file and the key of its visual tokens.
    `path` is None when the file is not there, `subtitle_path` likewise.
    """

    video_id: str
    media_id: str
    duration: str
    domain: str
    sub_category: str
    questions: tuple[Question, ...]
    path: Path | None = None
    subtitle_path: Path | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The videos of a benchmark in the order of its table."""

    name: str
    revision: str
    videos: tuple[BenchmarkVideo, ...]

    @property
    def num_questions(self) -> int:
        """How many questions there are."""
        return sum(len(video.questions) for video in self.videos)

    @property
    def content_hash(self) -> str:
        """Names the questions (16 hex digits), whatever folder they were read from."""
        return fingerprint([[video.media_id, video.duration, video.questions] for video in self.videos])


class BenchmarkReader(Protocol):
    """Turns the folder of a benchmark into its videos and questions."""

    def __call__(self, config: BenchmarkConfig) -> Benchmark:
        """Read the benchmark that `config` describes."""
        ...


def _table_path(config: BenchmarkConfig, folder: Path) -> Path:
    places = [config.table] if config.table else TABLE_PLACES
    for place in places:
        if (folder / place).is_file():
            return folder / place
    found = sorted(folder.glob("*.parquet")) if folder.is_dir() and not config.table else []
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} Parquet files" if found else f"no table ({', '.join(places)})"
    raise MissingInputError(
        f"The folder of benchmark {config.name!r}, {folder}, has {problem}: set benchmark.folder and benchmark.table."
    )


def _read_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise DataError(
                f"{path} has no column {missing[0]!r}, so it is no table of Video-MME since June 2024 "
                f"(which has {', '.join(COLUMNS)}); it has {', '.join(names)}."
            )
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows


def _question(row: Mapping[str, Any], path: Path) -> Question:
    name = f"{path}: question {row['question_id']}"
    texts = [row[key] for key in ("question_id", "task_type", "question", "answer")]
    options = row["options"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(options, list):
        raise DataError(f"{name} has an empty or wrongly typed cell: expected texts, and a list of texts as options.")
    starts = [f"{letter}." for letter in LETTERS]
    if [str(option)[:2] for option in options] != starts:
        raise DataError(f"{name} has the options {options!r}, expected {len(LETTERS)} beginning {' '.join(starts)}")
    if row["answer"] not in tuple(LETTERS):
        raise DataError(f"{name} has the answer {row['answer']!r}, expected one of {', '.join(LETTERS)}.")
    return Question(row["question_id"], row["task_type"], row["question"], tuple(options), row["answer"])


def _first_file(folder: Path, subfolders: Iterable[str], names: Iterable[str]) -> Path | None:
    candidates = (folder / subfolder / name for subfolder in subfolders for name in names)
    return next((path for path in candidates if path.is_file()), None)


def _video(rows: list[dict[str, Any]], questions: list[Question], folder: Path, path: Path) -> BenchmarkVideo:
    row, columns = rows[0], ("videoID", "duration", "domain", "sub_category")
    for key in columns:
        if any(other[key] != row[key] for other in rows) or not isinstance(row[key], str):
            raise DataError(f"{path}: the rows of video {row['video_id']} disagree about {key!r} or leave it empty.")
    media_id = check_video_id(row["videoID"])
    return BenchmarkVideo(
        video_id=row["video_id"],
        media_id=media_id,
        duration=row["duration"],
        domain=row["domain"],
        sub_category=row["sub_category"],
        questions=tuple(questions),
        path=_first_file(folder, VIDEO_FOLDERS, [media_id + suffix for suffix in VIDEO_SUFFIXES]),
        subtitle_path=_first_file(folder, SUBTITLE_FOLDERS, [f"{media_id}.srt"]),
    )


def read_video_mme(config: BenchmarkConfig) -> Benchmark:
    """Read a folder of Video-MME's shape: the table, `videos/<videoID>.mp4` and `subtitle/<videoID>.srt`.

    Missing videos and subtitles are no error here: they become rows with a reason.

    Raises:
        MissingInputError: there is no table.
        DataError: the table has another schema, a question twice, other options than A to D, or contradicts itself.
    """
    folder = Path(config.folder)
    path = _table_path(config, folder)
    rows_of: dict[str, list[dict[str, Any]]] = {}
    questions_of: dict[str, list[Question]] = {}
    seen: set[str] = set()
    for row in _read_rows(path):
        question = _question(row, path)
        if question.question_id in seen:
            raise DataError(f"{path} holds question {question.question_id} twice: question ids must be unique.")
        seen.add(question.question_id)
        rows_of.setdefault(row["video_id"], []).append(row)
        questions_of.setdefault(row["video_id"], []).append(question)
    videos = tuple(_video(rows, questions_of[name], folder, path) for name, rows in rows_of.items())
    if len({video.media_id for video in videos}) != len(videos):
        raise DataError(f"{path} gives two videos the same 'videoID': each video has its own file.")
    return Benchmark(config.name, config.revision, videos)


READERS: dict[str, BenchmarkReader] = {"video_mme": read_video_mme}


def read_benchmark(config: BenchmarkConfig) -> Benchmark:
    """Read the benchmark of `config` with the reader it names."""
    if config.reader not in READERS:
        raise ConfigError(f"benchmark.reader is {config.reader!r}, expected one of {', '.join(READERS)}.")
    return READERS[config.reader](config)
