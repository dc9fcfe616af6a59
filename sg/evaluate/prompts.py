"""The words around a question: those of a benchmark's authors, or your own in the order of Video-MME.

Each wording belongs to the rule that reads the answers to it, because the authors' rules expect the form of reply that
their prompt asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sg.artefacts.answer_rules.question import Question
from sg.artefacts.answer_rules.rules import VIDEO_MME
from sg.artefacts.answers import LETTERS
from sg.core.mistakes import check_choice

EMPTY_SUBTITLES = ("leave_out", "header")
VIDEO_MME_INSTRUCTION = (
    "Select the best answer to the following multiple-choice question based on the video. "
    "Respond with only the letter ({letters}) of the correct option."
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked: the text of its user, and the beginning of the reply that it continues."""

    text: str
    reply: str = ""


@dataclass
class PromptConfig:
    """The wording around a question; the defaults are the official text of Video-MME.

    `{letters}` in the instruction becomes the letters of the question's options: "A, B, C, or D".
    """

    subtitle_header: str = "This video's subtitles are listed below:"
    instruction: str = VIDEO_MME_INSTRUCTION
    last_line: str = "The best answer is:"
    # The published template has a space after the subtitles and the instruction; the published examples have none.
    trailing_blank: bool = False
    # With subtitles, but without a line on screen: leave the part out, or keep its header over an empty line.
    empty_subtitles: str = "leave_out"

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        check_choice("benchmark.prompt.empty_subtitles", self.empty_subtitles, EMPTY_SUBTITLES)

    @property
    def rule(self) -> str:
        """Name of the rule that reads the answers."""
        return VIDEO_MME

    def prompt(self, question: Question, subtitle_lines: Sequence[str] | None = None) -> Prompt:
        """The prompt without the video's placeholder.

        `subtitle_lines` is None in the setting without subtitles. In the setting with subtitles it can be empty;
        `empty_subtitles` decides the text then. Empty wording is left out.
        """
        blank = " " if self.trailing_blank else ""
        parts = []
        if subtitle_lines or (subtitle_lines is not None and self.empty_subtitles == "header"):
            header = [self.subtitle_header] if self.subtitle_header else []
            parts.append("\n".join([*header, *(subtitle_lines or [""])]) + blank)
        if self.instruction:
            parts.append(self.instruction.replace("{letters}", letters_in_words(len(question.options))) + blank)
        last = [self.last_line] if self.last_line else []
        return Prompt("\n".join([*parts, question.text, *question.options, *last]))


@dataclass(frozen=True)
class AuthorsWording:
    """A fixed wording: the text before, the question, its options, and the text after, each on lines of its own.

    Attributes:
        rule: name of the rule that reads the answers.
        before: text before the question.
        subtitle_header: continues `before` in the setting with subtitles, whose lines follow, joined by `separator`.
        question: text with `{question}`.
        options: a line above the options; `option` has `{letter}` and `{text}`. An option without a text is left out:
            the text of its question contains it.
        after: text after the options; `{letters}` becomes their letters.
        after_yes_no: replaces `after` for questions whose options are yes and no.
        reply: the beginning of the reply, which the model continues.
    """

    rule: str
    before: str = ""
    subtitle_header: str = ""
    separator: str = "\n"
    question: str = "{question}"
    options: str = ""
    option: str = "{letter}. {text}"
    after: str = ""
    after_yes_no: str = ""
    reply: str = ""

    def prompt(self, question: Question, subtitle_lines: Sequence[str] | None = None) -> Prompt:
        """The prompt without the video's placeholder; see `PromptConfig.prompt`."""
        before = self.before
        if subtitle_lines is not None and (subtitle_lines or self.subtitle_header):
            lines = self.separator.join(subtitle_lines)
            header = before + self.subtitle_header
            before = f"{header}\n{lines}" if header else lines
        block = "\n".join([self.question.replace("{question}", question.text), *self._options(question)]).rstrip()
        letters = letters_in_words(len(question.options))
        after = self.after_yes_no if self.after_yes_no and question.option_texts == ["yes", "no"] else self.after
        parts = [before, block, after.replace("{letters}", letters)]
        return Prompt("\n".join(part for part in parts if part), self.reply)

    def _options(self, question: Question) -> list[str]:
        lines = [
            self.option.replace("{letter}", letter).replace("{text}", text)
            for letter, text in zip(question.letters, question.option_texts, strict=True)
            if text
        ]
        return [self.options, *lines] if self.options and lines else lines


def letters_in_words(count: int) -> str:
    """The letters of `count` options as the official instruction lists them: "A, B, C, or D", "A or B"."""
    letters = list(LETTERS[:count])
    return " or ".join(letters) if count < 3 else ", ".join([*letters[:-1], f"or {letters[-1]}"])
