"""Claims: a caption as single facts, by rule."""

import re
from collections.abc import Iterator

_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+")
_CLAUSE = re.compile(r";\s+|,\s+(?:and\s+)?(?:then|while|before|after which|as|where|which)\s+|\s+while\s+|,\s+and\s+")
_MIN_WORDS = 3


def split_claims(caption: str) -> list[str]:
    """The clauses of a caption, in their order; a clause of fewer than three words stays with the one before it."""
    found: list[str] = []
    for sentence in _SENTENCE.split(caption.strip()):
        for number, clause in enumerate(_clauses(sentence)):
            if number and len(clause.split()) < _MIN_WORDS:
                found[-1] += f", {clause}"
            else:
                found.append(clause)
    return found


def _clauses(sentence: str) -> Iterator[str]:
    for clause in _CLAUSE.split(sentence):
        if text := clause.strip(" .,;"):
            yield text
