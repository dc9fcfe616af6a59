"""Settings of a benchmark: where it lies, how its questions are worded, how they are answered and read."""

from __future__ import annotations

from dataclasses import dataclass, field

from sg.artefacts.predictions import PROBES, SETTINGS, SWAPPED_VIDEO, ZEROED_VIDEO
from sg.core.commands import register
from sg.core.errors import ConfigError

SUBTITLE_RULES = ("at_frames", "transcript")
EMPTY_SUBTITLES = ("leave_out", "header")
READERS = ("video_mme", "mlvu", "longvideobench", "custom")
SAMPLINGS = ("greedy", "reference")


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"benchmark.{key} is {value!r}, expected one of {', '.join(choices)}.")


@dataclass
class PromptConfig:
    """The wording around a question; the defaults are the official text of Video-MME.

    `{letters}` in the instruction becomes the letters of the question's options: "A, B, C, or D".
    """

    subtitle_header: str = "This video's subtitles are listed below:"
    instruction: str = (
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter ({letters}) of the correct option."
    )
    last_line: str = "The best answer is:"
    # The published template has a blank after the subtitles and the instruction; the published examples have none.
    trailing_blank: bool = False
    # Setting with subtitles, but no line to show: leave the part out, or keep its header over an empty line.
    empty_subtitles: str = "leave_out"

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        _check_choice("prompt.empty_subtitles", self.empty_subtitles, EMPTY_SUBTITLES)


@dataclass
class AnsweringConfig:
    """How answers are generated: in float32 the same for every batch size, number of shards and state of the cache."""

    settings: list[str] = field(default_factory=lambda: list(SETTINGS))
    # Also no_video (the text alone) and shuffled_options (a letter that is liked for its place loses).
    probes: list[str] = field(default_factory=lambda: [ZEROED_VIDEO, SWAPPED_VIDEO])
    batch_size: int = 64
    max_new_tokens: int = 16
    # Take the first generated token when it is a letter, instead of generating to the end of the answer.
    stop_at_first_letter: bool = True
    # So many of the answers that ended at their first letter are written out again, to log how many still agree.
    check_in_full: int = 0
    # `reference` draws as Chat-UniVi's own scripts do (temperature 0.2, up to 1,024 tokens), here with a seed.
    sampling: str = "greedy"
    # Decides which other video `swapped_video` shows, the order of shuffled options, and what sampling draws.
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown settings and sizes below one."""
        for name in self.settings:
            _check_choice("answering.settings", name, SETTINGS)
        for name in self.probes:
            _check_choice("answering.probes", name, PROBES)
        _check_choice("answering.sampling", self.sampling, SAMPLINGS)
        if self.check_in_full < 0:
            raise ConfigError(f"benchmark.answering.check_in_full is {self.check_in_full}, expected 0 or more.")
        for key in ("batch_size", "max_new_tokens"):
            if getattr(self, key) < 1:
                raise ConfigError(f"benchmark.answering.{key} is {getattr(self, key)}, expected 1 or more.")


@dataclass
class BenchmarkConfig:
    """A benchmark on this machine.

    `folder` holds its table, films and subtitles in the layout that `reader` knows; `table` is the path of the table in
    it, found by itself when empty.
    """

    name: str
    folder: str
    reader: str = "video_mme"
    # Which revision of the table this is: scores of Video-MME from before and after 2024-06-15 do not compare.
    # `local` takes what the hub's download left beside the table, where it did.
    revision: str = "local"
    table: str = ""
    subtitles: str = "at_frames"
    answer_reader: str = "official"
    prompt: PromptConfig = field(default_factory=PromptConfig)
    answering: AnsweringConfig = field(default_factory=AnsweringConfig)

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        from sg.artefacts.answers import answer_reader

        _check_choice("reader", self.reader, READERS)
        _check_choice("subtitles", self.subtitles, SUBTITLE_RULES)
        answer_reader(self.answer_reader)


register("benchmark", "benchmark_schema", BenchmarkConfig)
