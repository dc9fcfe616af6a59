"""The three rules of TempCompass without its language model as judge.

See `docs/reference/benchmarks.md`, section 3. The letter of a reading is "" if and only if the official script finds no
match.
"""

from sg.artefacts.answer_rules.question import Question, Reading, labelled
from sg.artefacts.answers import LETTERS, OFFICIAL_LETTERS

MULTI_CHOICE, YES_NO, CAPTION_MATCHING = "multi-choice", "yes_no", "caption_matching"
TASKS = (MULTI_CHOICE, YES_NO, CAPTION_MATCHING)
"""The tasks that are scored by rule; they are the domains of the questions."""

_LABELS = ("Sentence ", "Option ", "Caption ")


def read_tempcompass(question: Question, response: str) -> Reading:
    """The reading by the rule of the question's task, which is its `domain`."""
    reply = response.replace("</s>", "").strip()
    if question.domain == YES_NO:
        return _yes_no(question, reply)
    return (_caption if question.domain == CAPTION_MATCHING else _choice)(question, reply)


def parts_of(task: str, question: str, answer: str) -> tuple[str, tuple[str, ...], str]:
    """The text, the labelled options and the right letter of a stored question; "" where the answer is none of them."""
    if task == YES_NO:
        return question, labelled(["yes", "no"]), {"yes": "A", "no": "B"}.get(answer, "")
    lines = question.split("\n")
    first = next((at for at, line in enumerate(lines) if line.startswith("A. ")), len(lines))
    first = first if task == MULTI_CHOICE else 1
    stored = lines[first:]
    options = tuple(stored) if task == MULTI_CHOICE else labelled(stored)
    letter = LETTERS[stored.index(answer)] if answer in stored else ""
    return "\n".join(lines[:first]), options, letter


def _choice(question: Question, reply: str) -> Reading:
    """The letter at the beginning of the reply, or the whole line of the right option.

    The letter may be one that the question does not have.
    """
    right = question.options[question.letters.index(question.answer)]
    if reply == right:
        return Reading(question.answer, 1)
    for sign in (".", ")"):
        letter = reply.split(sign)[0]
        if letter in (*OFFICIAL_LETTERS,) and (reply == letter or reply.startswith(letter + sign)):
            return Reading(letter, int(letter == right[:1]))
    return Reading("", 0)


def _yes_no(question: Question, reply: str) -> Reading:
    lower = reply.lower()
    # "not sure" and "North" begin with "no".
    letter = next((letter for letter, word in zip("AB", ("yes", "no"), strict=True) if lower.startswith(word)), "")
    return Reading(letter, int(letter == question.answer))


def _caption(question: Question, reply: str) -> Reading:
    """The line whose text, sentence or label the reply is; a later kind replaces the choice of an earlier one."""
    lines = question.option_texts
    chosen = {text: at for at, line in enumerate(lines) for text in (line,) if text == reply}
    behind = reply.split(") ")[1] if ") " in reply else reply
    for at, line in enumerate(lines):
        if _sentence(line) in (reply, behind):
            chosen = {_sentence(line): at}
    for at, line in enumerate(lines):
        for label in (_label(line), _short(line)):
            if label in (reply, reply.replace(".", "")):
                chosen = {label: at}
    if not chosen:
        return Reading("", 0)
    ((text, at),) = chosen.items()
    right = lines[question.letters.index(question.answer)]
    is_right = text in (right, right.split(":")[0], _sentence(right), _short(right))
    return Reading(question.letters[at], int(is_right))


def _label(line: str) -> str:
    return line.split(": ")[0]


def _sentence(line: str) -> str:
    """The text between the first and the second `: `, so a sentence with its own `: ` is cut, as officially."""
    return line.split(": ")[1] if ": " in line else ""


def _short(line: str) -> str:
    label = _label(line)
    for word in _LABELS:
        label = label.replace(word, "")
    return label
