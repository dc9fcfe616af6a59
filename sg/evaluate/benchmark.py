"""Benchmarks as this project sees them: videos with questions, and where their files lie.

A reader (`sg/evaluate/readers`) turns a folder into a `Benchmark`; everything after it (prompts, answering, scores)
knows no format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sg.artefacts.answers import LETTERS
from sg.core.errors import DataError
from sg.core.fingerprints import fingerprint
from sg.core.registry import Registry
from sg.evaluate.config import BenchmarkConfig

MAX_OPTIONS = 10
SHORT_S, MEDIUM_S = 120, 900
"""Where Video-MME's buckets of duration end; benchmarks that give seconds are put into the same buckets."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question; its options begin with "A. ", "B. " and so on, `answer` is the right letter."""

    question_id: str
    task_type: str
    text: str
    options: tuple[str, ...]
    answer: str

    @property
    def letters(self) -> str:
        """The letters of the options: "ABCD"."""
        return LETTERS[: len(self.options)]


@dataclass(frozen=True, slots=True)
class BenchmarkVideo:
    """One video and its questions.

    `video_id` is the benchmark's name of it ("001"), `media_id` names its film and the film's visual tokens. `path` is
    None when the film is not there (`problem` may say why), `subtitle_path` likewise. `subtitle_span_s` is the stretch
    of its subtitles that the film is, where the film was cut out of a longer one.
    """

    video_id: str
    media_id: str
    duration: str
    domain: str
    sub_category: str
    questions: tuple[Question, ...]
    path: Path | None = None
    subtitle_path: Path | None = None
    subtitle_span_s: tuple[float, float] | None = None
    problem: str = ""


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

    def __call__(self, config: Any) -> Benchmark:
        """Read the benchmark that `config` describes, an instance of the registered settings class."""
        ...


BENCHMARKS: Registry[BenchmarkReader] = Registry("benchmark", "sg.evaluate.benchmarks")


def read_benchmark(config: BenchmarkConfig) -> Benchmark:
    """Read the benchmark with the reader that is registered for the class of `config`.

    Raises:
        ConfigError: there is no such reader.
        MissingInputError, DataError: see the reader.
    """
    return BENCHMARKS.of(config)(config)


def checked(benchmark: Benchmark, origin: Path) -> Benchmark:
    """`benchmark`, when its names are unique.

    Raises:
        DataError: there is no question, or a question or a film has the name of another.
    """
    questions = [question.question_id for video in benchmark.videos for question in video.questions]
    if not questions:
        raise DataError(f"{origin} holds no question.")
    if twice := _first_repeated(questions):
        raise DataError(f"{origin} holds question {twice} twice: question ids must be unique.")
    if twice := _first_repeated([video.media_id for video in benchmark.videos]):
        raise DataError(f"{origin} gives two videos the same film {twice!r}: each video has its own file.")
    return benchmark


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def labelled(options: Sequence[str]) -> tuple[str, ...]:
    """The texts of options with their letters in front: "A. red", "B. blue"."""
    return tuple(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def unlabelled(option: str) -> str:
    """The text of an option without its letter."""
    return option[2:].removeprefix(" ")


def check_options(options: Sequence[str], answer: str, where: str) -> None:
    """Refuse options that are not 2 to 10 lettered in order, and an answer that is none of their letters.

    Raises:
        DataError: they are not; `where` is named.
    """
    letters = LETTERS[: len(options)]
    if not 2 <= len(options) <= MAX_OPTIONS or [option[:2] for option in options] != [f"{one}." for one in letters]:
        raise DataError(
            f"{where} has the options {list(options)!r}, expected 2 to {MAX_OPTIONS} beginning A. B. C. and so on."
        )
    if answer not in tuple(letters):
        raise DataError(f"{where} has the answer {answer!r}, expected one of {', '.join(letters)}.")


def duration_bucket(seconds: float) -> str:
    """ "short", "medium" or "long" by Video-MME's bounds."""
    return "short" if seconds < SHORT_S else "medium" if seconds < MEDIUM_S else "long"


def first_file(folder: Path, subfolders: Iterable[str], names: Iterable[str]) -> Path | None:
    """The first of `names` in the first of `subfolders` of `folder` that is a file."""
    candidates = (folder / subfolder / name for subfolder in subfolders for name in names)
    return next((path for path in candidates if path.is_file()), None)
