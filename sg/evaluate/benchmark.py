"""Benchmarks: videos with questions, and the places of their files.

A file of `sg/evaluate/benchmarks` turns a folder into a `Benchmark`. Prompts, answering and scores use only this class
and know no file format.
"""

import dataclasses
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sg.artefacts.answer_rules.question import Question as Question
from sg.artefacts.answer_rules.question import labelled as labelled
from sg.artefacts.answer_rules.question import unlabelled as unlabelled
from sg.core.content import file_content
from sg.core.errors import DataError, MissingInputError
from sg.core.fingerprints import fingerprint
from sg.core.registry import Registry
from sg.evaluate.config import BenchmarkConfig
from sg.video.sampling import FramePolicy

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BenchmarkVideo:
    """One video and its questions.

    Attributes:
        video_id: name in the benchmark, such as "001".
        media_id: name of its file and of its visual tokens.
        path: its file, or None when it is missing; `problem` may explain why.
        subtitle_path: its subtitle file, or None.
        subtitle_span_s: for a video that was cut from a longer one, its start and end in the subtitles, in seconds.
        frames: the frames that the benchmark prescribes; None leaves them to the model.
        shared_clip: name of its visual tokens if another benchmark of the same call shows the same frames of its file.
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
    frames: FramePolicy | None = None
    shared_clip: str = ""

    def clip_key(self, benchmark: str) -> str:
        """Name of its visual tokens; it begins with the name of its benchmark."""
        # Prescribed frames are a part of the name, because other frames of the same file have other tokens.
        suffix = "" if self.frames is None else f"@{fingerprint([type(self.frames).__name__, self.frames])}"
        return self.shared_clip or f"{benchmark}/{self.media_id}{suffix}"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The videos of a benchmark in the order of its table."""

    name: str
    revision: str
    videos: tuple[BenchmarkVideo, ...]

    @property
    def questions(self) -> list[Question]:
        """The questions in the order of the videos."""
        return [question for video in self.videos for question in video.questions]

    @property
    def num_questions(self) -> int:
        """Number of questions."""
        return len(self.questions)

    @property
    def content_hash(self) -> str:
        """16 hex digits over the questions, independent of the folder."""
        # Without fields that are not in use, so that questions of earlier versions keep their hash.
        return fingerprint(
            [
                [video.media_id, video.duration, [_in_use(question) for question in video.questions]]
                for video in self.videos
            ]
        )


def _in_use(question: Question) -> dict[str, Any]:
    fields = dataclasses.asdict(question)
    return {name: value for name, value in fields.items() if value or name not in ("domain", "sub_category")}


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


def read_askable_benchmarks(configs: Iterable[BenchmarkConfig]) -> list[Benchmark]:
    """Read several benchmarks; files of one content, of which several show the same frames, have one clip.

    It is that of the first of them, so a further benchmark never changes the answers to an earlier one.

    Raises:
        see `read_askable_benchmark`.
    """
    benchmarks = [read_askable_benchmark(config) for config in configs]
    if len(benchmarks) < 2:
        return benchmarks
    keys: dict[tuple[str, FramePolicy | None], str] = {}
    return [_with_shared(benchmark, keys) for benchmark in benchmarks]


def _with_shared(benchmark: Benchmark, keys: dict[tuple[str, FramePolicy | None], str]) -> Benchmark:
    """The benchmark with the clips of earlier ones; `keys` names their clips by content and frames, and gets its own.

    Two videos of one benchmark with one content stay apart.
    """
    before, videos = dict(keys), []
    for video in benchmark.videos:
        try:
            name = None if video.path is None else (file_content(video.path), video.frames)
        except OSError:  # a folder of pictures, or a file that cannot be read, which becomes rows with a reason
            name = None
        videos.append(video if name is None else dataclasses.replace(video, shared_clip=before.get(name, "")))
        if name is not None:
            keys.setdefault(name, video.clip_key(benchmark.name))
    return dataclasses.replace(benchmark, videos=tuple(videos))


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
