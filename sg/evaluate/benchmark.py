"""Benchmarks: videos with questions, and the places of their files.

A file of `sg/evaluate/benchmarks` turns a folder into a `Benchmark`. Prompts, answering and scores use only this class
and know no file format.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sg.artefacts.answers import LETTERS
from sg.artefacts.names import check_relative_path
from sg.core.errors import DataError, MissingInputError
from sg.core.fingerprints import fingerprint
from sg.core.registry import Registry
from sg.evaluate.config import BenchmarkConfig

log = logging.getLogger(__name__)

MAX_OPTIONS = 10
LONGEST_S = 10**9
SHORT_S, MEDIUM_S = 120, 900
"""Upper bounds of Video-MME's duration buckets; benchmarks with durations in seconds use the same buckets."""


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

    Attributes:
        video_id: name in the benchmark, such as "001".
        media_id: name of its file and of its visual tokens.
        path: its file, or None when it is missing; `problem` may explain why.
        subtitle_path: its subtitle file, or None.
        subtitle_span_s: for a video that was cut from a longer one, its start and end in the subtitles, in seconds.
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
        """Number of questions."""
        return sum(len(video.questions) for video in self.videos)

    @property
    def content_hash(self) -> str:
        """16 hex digits over the questions, independent of the folder."""
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


def read_askable_benchmark(config: BenchmarkConfig) -> Benchmark:
    """Like `read_benchmark`, for a model that is going to be asked: at least one video has a file.

    Missing files are counted in the log, and their questions become rows with a reason.

    Raises:
        MissingInputError: there is no table, or no video has a file.
        ConfigError, DataError: see `read_benchmark`.
    """
    benchmark = read_benchmark(config)
    missing = [video for video in benchmark.videos if video.path is None]
    if len(missing) == len(benchmark.videos):
        why = missing[0].problem or f"such as {missing[0].media_id}"
        raise MissingInputError(
            f"None of the {len(missing):,} videos of benchmark {benchmark.name!r} has a file in {config.folder} "
            f"({why}): put them where docs/evaluation.md says, or set benchmark.folder."
        )
    if missing:
        log.warning(
            "%d of the %d videos of benchmark %s have no file, such as %s: their questions are not asked.",
            len(missing), len(benchmark.videos), benchmark.name, missing[0].media_id,
        )  # fmt: skip
    return benchmark


def checked(benchmark: Benchmark, origin: Path) -> Benchmark:
    """Return `benchmark` if it has questions and its names are unique.

    Raises:
        DataError: there is no question, two questions or two videos have the same name, or a name is empty.
    """
    questions = [question.question_id for video in benchmark.videos for question in video.questions]
    if not questions:
        raise DataError(f"{origin} holds no questions.")
    if twice := _first_repeated(questions):
        raise DataError(f"{origin} holds question {twice} twice: question ids must be unique.")
    names = [name for video in benchmark.videos for name in (video.video_id, video.duration)]
    if not all(name.strip() for name in (*questions, *names)):
        raise DataError(f"{origin} holds an empty question id, video id or duration: give each a name.")
    if twice := _first_repeated([video.media_id for video in benchmark.videos]):
        raise DataError(f"{origin} gives two videos the same file {twice!r}: each video needs its own.")
    return benchmark


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def labelled(options: Sequence[str]) -> tuple[str, ...]:
    """The options with their letters: "A. red", "B. blue"."""
    return tuple(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def is_list_of_texts(value: Any) -> bool:
    """True for a list whose members are all texts."""
    return isinstance(value, list) and all(isinstance(member, str) for member in value)


def unlabelled(option: str) -> str:
    """The text of an option without its letter."""
    return option[2:].removeprefix(" ")


def check_options(options: Sequence[str], answer: str, where: str) -> None:
    """Check that there are 2 to 10 options with letters in order, and that the answer is one of the letters.

    Raises:
        DataError: they are not; the message begins with `where`.
    """
    letters = LETTERS[: len(options)]
    if not 2 <= len(options) <= MAX_OPTIONS or [option[:2] for option in options] != [f"{one}." for one in letters]:
        raise DataError(
            f"{where} has the options {reprlib.repr(list(options))}, expected 2 to {MAX_OPTIONS} beginning A. B. C. "
            "and so on."
        )
    if answer not in tuple(letters):
        raise DataError(f"{where} has the answer {reprlib.repr(answer)}, expected one of {', '.join(letters)}.")


def checked_seconds(value: Any, key: str, where: str) -> float:
    """A number of seconds, above 0 and below 32 years.

    Raises:
        DataError: `value` is not one; the message begins with `where`.
    """
    # NaN is not larger than 0.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < LONGEST_S:
        return float(value)
    raise DataError(f"{where} has {reprlib.repr(value)} as {key!r}, expected seconds.")


def duration_bucket(seconds: float) -> str:
    """The bucket of a duration, "short", "medium" or "long", by Video-MME's bounds."""
    return "short" if seconds < SHORT_S else "medium" if seconds < MEDIUM_S else "long"


def first_file(folder: Path, subfolders: Iterable[str], name: str) -> Path | None:
    """The file `name`, a relative path of a table, in the first of the `subfolders` of `folder` that has it, or None.

    Raises:
        DataError: the name could lead out of the folder.
    """
    check_relative_path(name)
    candidates = (folder / subfolder / name for subfolder in subfolders)
    return next((path for path in candidates if path.is_file()), None)


def files_by_stem(folder: Path, subfolders: Iterable[str], suffixes: Collection[str]) -> dict[str, Path]:
    """The files with one of `suffixes` (lower case) in the `subfolders` of `folder`, by name without suffix.

    Where several files have the same name, that of the first subfolder counts, and in a subfolder the first suffix by
    alphabet, `.mp4` before all others; the log names an example.
    """
    found: dict[str, Path] = {}
    several = []
    for subfolder in subfolders:
        place = folder / subfolder
        paths = sorted(place.iterdir()) if place.is_dir() else []
        for path in sorted(paths, key=lambda path: path.suffix.lower() != ".mp4"):
            if path.suffix.lower() in suffixes and path.is_file():
                first = found.setdefault(path.stem, path)
                several += [f"{first} and {path}"] if first != path else []
    if several:
        log.warning("%d files have the name of another one, such as %s: the first is used.", len(several), several[0])
    return found
