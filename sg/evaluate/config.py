"""Settings of a benchmark: where it lies, how its questions are worded, how they are answered and read."""

from __future__ import annotations

from dataclasses import dataclass, field

from sg.artefacts.predictions import PROBES, SETTINGS, SWAPPED_VIDEO, ZEROED_VIDEO
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice

SUBTITLE_RULES = ("at_frames", "transcript")
EMPTY_SUBTITLES = ("leave_out", "header")
SAMPLINGS = ("greedy", "reference")


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
    # The published template has a space after the subtitles and the instruction; the published examples have none.
    trailing_blank: bool = False
    # With subtitles, but without a line on screen: leave the part out, or keep its header over an empty line.
    empty_subtitles: str = "leave_out"

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        check_choice("benchmark.prompt.empty_subtitles", self.empty_subtitles, EMPTY_SUBTITLES)


@dataclass
class AnsweringConfig:
    """How answers are generated. In float32 they do not depend on batch size, shards or state of the cache."""

    # Which rows are asked is not part of their identity: a probe that is added later leaves the other answers valid.
    settings: list[str] = field(default_factory=lambda: list(SETTINGS), metadata=NOT_IDENTITY)
    # Also no_video (the text alone) and shuffled_options (exposes position bias).
    probes: list[str] = field(default_factory=lambda: [ZEROED_VIDEO, SWAPPED_VIDEO], metadata=NOT_IDENTITY)
    # Prompts at once. Answers do not depend on it, except for rounding in 16-bit types.
    batch_size: int = field(default=64, metadata=NOT_IDENTITY)
    max_new_tokens: int = 16
    # Stop at the first generated token when it is a letter.
    stop_at_first_letter: bool = True
    # Number of answers that ended at their first letter and are generated in full, to log how many letters agree.
    check_in_full: int = field(default=0, metadata=NOT_IDENTITY)
    # `reference` samples as Chat-UniVi's own scripts do (temperature 0.2, up to 1,024 tokens), here with a seed.
    sampling: str = "greedy"
    # Chooses the other video of `swapped_video`, the order of shuffled options, and the sampled tokens.
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown settings and sizes below one."""
        for name in self.settings:
            check_choice("benchmark.answering.settings", name, SETTINGS)
        for name in self.probes:
            check_choice("benchmark.answering.probes", name, PROBES)
        check_choice("benchmark.answering.sampling", self.sampling, SAMPLINGS)
        if self.check_in_full < 0:
            raise ConfigError(f"benchmark.answering.check_in_full is {self.check_in_full}, expected 0 or more.")
        for key in ("batch_size", "max_new_tokens"):
            if getattr(self, key) < 1:
                raise ConfigError(f"benchmark.answering.{key} is {getattr(self, key)}, expected 1 or more.")


@dataclass
class BenchmarkConfig:
    """A benchmark on this machine; each file of `sg/evaluate/benchmarks` derives its own settings from this class.

    `folder` holds its table, videos and subtitles in the layout of the benchmark; `table` is the path of the table
    in it; empty searches the usual places. Neither counts in the identity of answers: their content does.
    """

    name: str
    folder: str = field(metadata=NOT_IDENTITY)
    # Revision of the table: scores of Video-MME from before and after 2024-06-15 are not comparable.
    # `local` takes the commit that the hub's download recorded beside the table, if there is one.
    revision: str = "local"
    table: str = field(default="", metadata=NOT_IDENTITY)
    subtitles: str = "at_frames"
    answer_reader: str = "official"
    prompt: PromptConfig = field(default_factory=PromptConfig)
    answering: AnsweringConfig = field(default_factory=AnsweringConfig)

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        from sg.artefacts.answers import answer_reader

        check_choice("benchmark.subtitles", self.subtitles, SUBTITLE_RULES)
        answer_reader(self.answer_reader)
