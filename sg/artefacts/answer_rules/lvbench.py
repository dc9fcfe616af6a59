"""The rules of LVBench: the scorer's exact comparison, and the reader that its repository has for use before it.

See `docs/reference/benchmarks.md`, section 4.
"""

from sg.artefacts.answer_rules.question import Question, Reading


def polished(response: str) -> str:
    """What the repository's reader makes of a response: one character, which need not be a letter, or ""."""
    text = response.strip().split(")")[0].strip()
    if "(" in text:
        text = text.split("(")[1].strip()
    return text.split(" ")[0][:1]


def read_lvbench(question: Question, response: str) -> Reading:
    """The repository's reader, then the scorer's comparison. Any other character is a wrong answer."""
    return read_lvbench_exact(question, polished(response))


def read_lvbench_exact(question: Question, response: str) -> Reading:
    """The scorer alone: only the bare letter counts."""
    letter = response if len(response) == 1 and response in question.letters else ""
    return Reading(letter, int(response == question.answer))
