"""The text of a question, as the benchmark's authors ask it (`docs/reference/video_mme.md`, section 2).

Three parts joined by newlines: the subtitles under their header (only in the setting with subtitles), the instruction,
and the question with its options and the beginning of an answer. All wording is a setting (`PromptConfig`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sg.artefacts.answers import LETTERS
from sg.evaluate.config import PromptConfig


def letters_in_words(count: int) -> str:
    """The letters of `count` options as the official instruction lists them: "A, B, C, or D", "A or B"."""
    letters = list(LETTERS[:count])
    return " or ".join(letters) if count < 3 else ", ".join([*letters[:-1], f"or {letters[-1]}"])


def build_prompt(
    question: str, options: Sequence[str], config: PromptConfig, subtitle_lines: Sequence[str] | None = None
) -> str:
    """The prompt without the video's placeholder.

    `options` begin with "A. ", "B. ", .... `subtitle_lines` is None in the setting without subtitles. In the setting
    with subtitles it can be empty; `config.empty_subtitles` decides the text then. Empty wording is left out.
    """
    blank = " " if config.trailing_blank else ""
    parts = []
    if subtitle_lines or (subtitle_lines is not None and config.empty_subtitles == "header"):
        header = [config.subtitle_header] if config.subtitle_header else []
        parts.append("\n".join([*header, *(subtitle_lines or [""])]) + blank)
    if config.instruction:
        parts.append(config.instruction.replace("{letters}", letters_in_words(len(options))) + blank)
    parts.append("\n".join([question, *options, *([config.last_line] if config.last_line else [])]))
    return "\n".join(parts)
