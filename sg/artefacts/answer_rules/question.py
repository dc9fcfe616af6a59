"""A question, and what a rule reads from the response to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sg.artefacts.answers import LETTERS

UNANSWERED_SCORE = -1


@dataclass(frozen=True, slots=True)
class Question:
    """One question; its options begin with "A. ", "B. " and so on, `answer` is the right letter.

    `domain` and `sub_category` are those of the question where it has its own, and replace those of its video.
    """

    question_id: str
    task_type: str
    text: str
    options: tuple[str, ...]
    answer: str
    domain: str = ""
    sub_category: str = ""

    @property
    def letters(self) -> str:
        """The letters of the options: "ABCD"."""
        return LETTERS[: len(self.options)]

    @property
    def option_texts(self) -> list[str]:
        """The options without their letters."""
        return [unlabelled(option) for option in self.options]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule reads from a response.

    Attributes:
        letter: the option that the response chooses; "" if it chooses none.
        score: the official score of the question: 1 right, 0 wrong, -1 unanswered (the official accuracy leaves it
            out). None means: -1 without a letter, else whether the letter is the right one.
    """

    letter: str
    score: int | None = None


AnswerRule = Callable[[Question, str], Reading]


def labelled(options: Sequence[str]) -> tuple[str, ...]:
    """The options with their letters: "A. red", "B. blue"."""
    return tuple(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def unlabelled(option: str) -> str:
    """The text of an option without its letter."""
    return option[2:].removeprefix(" ")
