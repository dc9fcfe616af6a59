"""Extracts the letter from a response, exactly as the official Video-MME scorers do.

See `docs/reference/video_mme.md`, section 4.

The rule is deliberately crude, so that scores stay comparable. Known quirks (`Best answer: D` is read as B) are kept,
because all published scores have them.
"""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_uppercase

from sg.core.errors import ConfigError

LETTERS = ascii_uppercase
OFFICIAL_LETTERS = LETTERS[:4]
"""Video-MME's questions have four options; those of other benchmarks may have more or fewer."""
UNANSWERED = ""

AnswerReader = Callable[[str, str], str]
"""(response, letters of the question's options) -> the letter read, or ""."""

# The order matters: "The answer" must not remove the beginning of "The answer is" first. Entries five and six are two
# phrases each, joined by missing commas in the scorer of 2024-06-23, so they never match.
_LITERALS_2024_06_18 = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
)
_LITERALS_OFFICIAL = (*_LITERALS_2024_06_18, "Answer:", "Option:", "The correct answer", "The correct option")


def _first_letter_after(literals: tuple[str, ...], response: str, letters: str) -> str:
    text = response.strip()
    for literal in literals:
        text = text.replace(literal, "")
    return next((character for character in text if character in letters), UNANSWERED)


def read_letter(response: str, letters: str = OFFICIAL_LETTERS) -> str:
    """The letter that the official scorer of 2024-06-23 reads from `response`, one of `letters`; "" for unanswered."""
    return _first_letter_after(_LITERALS_OFFICIAL, response, letters)


def read_letter_2024_06_18(response: str, letters: str = OFFICIAL_LETTERS) -> str:
    """The letter by the scorer of 2024-06-18, which numbers published before 2024-06-23 used."""
    return _first_letter_after(_LITERALS_2024_06_18, response, letters)


ANSWER_READERS: dict[str, AnswerReader] = {
    "official": read_letter,
    "official_2024_06_18": read_letter_2024_06_18,
}


def answer_reader(name: str) -> AnswerReader:
    """The reader called `name`.

    Raises:
        ConfigError: there is no such reader.
    """
    if name not in ANSWER_READERS:
        raise ConfigError(f"benchmark.answer_reader is {name!r}, expected {' or '.join(ANSWER_READERS)}.")
    return ANSWER_READERS[name]
