"""Settings of a benchmark: where it lies, how its questions are worded, how they are answered and read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from sg.artefacts.answer_rules.question import AnswerRule
from sg.artefacts.answer_rules.rules import DECIDED_BY_FIRST_LETTER, OFFICIAL, answer_rule
from sg.artefacts.predictions import PROBES, SETTINGS, SWAPPED_VIDEO, ZEROED_VIDEO
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice, check_folder_name
from sg.evaluate.official.plain import video_mme_result
from sg.evaluate.official.result import OfficialForms
from sg.evaluate.prompts import AuthorsWording
from sg.evaluate.prompts import PromptConfig as PromptConfig

SUBTITLE_RULES = ("at_frames", "transcript", "covering")
SAMPLINGS = ("greedy", "reference")


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
    # Also the likelihood of the text of each option: the mean log-probability of its tokens, after the same prompt.
    # `answers_identity` counts it when it is set.
    option_texts: bool = field(default=False, metadata=NOT_IDENTITY)
    # `reference` samples as Chat-UniVi's own scripts do (temperature 0.2, up to 1,024 tokens), here with a seed.
    sampling: str = "greedy"
    # Chooses the other video of `swapped_video`, the order of shuffled options, and the sampled tokens.
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown settings and sizes below one."""
        for key, names in (("settings", self.settings), ("probes", self.probes)):
            if len(set(names)) < len(names):
                raise ConfigError(f"benchmark.answering.{key}=[{','.join(names)}] should name each once.")
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


def whole_answers() -> AnsweringConfig:
    """The default of benchmarks whose rule also reads the text behind a first letter."""
    return AnsweringConfig(stop_at_first_letter=False)


@dataclass
class BenchmarkConfig:
    """A benchmark on this machine; each file of `sg/evaluate/benchmarks` derives its own settings from this class.

    `folder` holds its table, videos and subtitles in the layout of the benchmark; `table` is the path of the table
    in it; empty searches the usual places. Neither counts in the identity of answers: their content does.

    `prompt` is one of the class's `wordings` by name, or your own words as the keys of `PromptConfig`.
    """

    name: str
    folder: str = field(metadata=NOT_IDENTITY)
    # Revision of the table: scores of Video-MME from before and after 2024-06-15 are not comparable.
    # `local` takes the commit that the hub's download recorded beside the table, if there is one.
    revision: str = "local"
    table: str = field(default="", metadata=NOT_IDENTITY)
    subtitles: str = "at_frames"
    answer_reader: str = OFFICIAL
    prompt: Any = OFFICIAL
    answering: AnsweringConfig = field(default_factory=AnsweringConfig)

    wordings: ClassVar[Mapping[str, PromptConfig | AuthorsWording]] = {OFFICIAL: PromptConfig()}
    """The wordings that `prompt` can name. A class that replaces this one gives at least "official"."""
    official: ClassVar[OfficialForms] = OfficialForms(video_mme_result)
    """The forms of results that the authors use."""

    def __post_init__(self) -> None:
        """Refuse unknown choices; replace the name of a wording by the wording."""
        check_folder_name("benchmark.name", self.name)
        check_choice("benchmark.subtitles", self.subtitles, SUBTITLE_RULES)
        self.prompt = self._wording()
        self.rule  # noqa: B018  # raises for an unknown reader
        if self.answering.stop_at_first_letter and self.rule_name not in DECIDED_BY_FIRST_LETTER:
            raise ConfigError(
                f"benchmark.answering.stop_at_first_letter=true would change the scores of {self.name}, because its "
                "rule also reads the text behind a letter: set it to false."
            )

    def _wording(self) -> PromptConfig | AuthorsWording:
        if isinstance(self.prompt, (PromptConfig, AuthorsWording)):
            return self.prompt
        keys = [item.name for item in fields(PromptConfig)]
        if isinstance(self.prompt, Mapping):
            for key in self.prompt:
                check_choice("benchmark.prompt", str(key), keys)
            return PromptConfig(**{str(key): value for key, value in self.prompt.items()})
        check_choice("benchmark.prompt", str(self.prompt), [*self.wordings])
        return replace(self.wordings[self.prompt])

    @property
    def rule_name(self) -> str:
        """Name of the rule that reads the answers; "official" means the one of the wording."""
        return str(self.prompt.rule) if self.answer_reader == OFFICIAL else self.answer_reader

    @property
    def rule(self) -> AnswerRule:
        """The rule that reads the answers; ConfigError if there is no such rule."""
        return answer_rule(self.answer_reader, self.prompt.rule)


def check_benchmarks(benchmarks: Sequence[BenchmarkConfig]) -> None:
    """Raise ConfigError if two benchmarks of one call have one name, which names their folders of answers."""
    names = [benchmark.name for benchmark in benchmarks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"Two benchmarks are called {twice!r}: give one another name, as benchmark.name=NAME.")
