"""The rules by name, as `benchmark.answer_reader` and the wordings of benchmarks choose them."""

from collections.abc import Callable

from sg.artefacts.answer_rules.lvbench import read_lvbench, read_lvbench_exact
from sg.artefacts.answer_rules.mvbench import read_mlvu, read_mvbench, read_mvbench_bare
from sg.artefacts.answer_rules.question import AnswerRule, Question, Reading
from sg.artefacts.answer_rules.tempcompass import read_tempcompass
from sg.artefacts.answers import MISSING_CELLS, read_letter, read_letter_2024_06_18, read_letter_v2
from sg.core.errors import ConfigError

VIDEO_MME, OFFICIAL = "video_mme", "official"


def _letters_alone(read: Callable[[str, str], str]) -> AnswerRule:
    """A rule that only reads a letter, so that the official accuracy leaves out a question without one."""
    return lambda question, response: Reading(read(response, question.letters))


def read_longvideobench(question: Question, response: str) -> Reading:
    """Video-MME's reading; without a letter the answer is wrong. The authors publish no reader."""
    letter = read_letter(response, question.letters)
    return Reading(letter, int(letter == question.answer))


def read_video_mme_v2(question: Question, response: str) -> Reading:
    """The reading of Video-MME-v2, whose scorer reads the answers from a table: `NA` is unanswered."""
    return Reading("" if response in MISSING_CELLS else read_letter_v2(response, question.letters))


RULES: dict[str, AnswerRule] = {
    VIDEO_MME: _letters_alone(read_letter),
    "official_2024_06_18": _letters_alone(read_letter_2024_06_18),
    "video_mme_v2": read_video_mme_v2,
    "mvbench": read_mvbench,
    "mvbench_bare": read_mvbench_bare,
    "mlvu": read_mlvu,
    "tempcompass": read_tempcompass,
    "lvbench": read_lvbench,
    "lvbench_exact": read_lvbench_exact,
    "longvideobench": read_longvideobench,
}

DECIDED_BY_FIRST_LETTER = (VIDEO_MME, "official_2024_06_18", "video_mme_v2", "lvbench", "longvideobench")
"""Rules that read the same letter from an answer that ends behind a first letter as from the whole answer."""


def answer_rule(name: str, official: str = VIDEO_MME) -> AnswerRule:
    """The rule called `name`; `official` is the name of the one that "official" means.

    Raises:
        ConfigError: there is no such rule.
    """
    if name != OFFICIAL and name not in RULES:
        raise ConfigError(f"benchmark.answer_reader is {name!r}, expected {', '.join([OFFICIAL, *RULES])}.")
    return RULES[official if name == OFFICIAL else name]
