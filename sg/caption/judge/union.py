"""Recall against the union of what several captioners say truly about a video, for data whose facts nobody has listed.

A judge has decided which claims of each captioner are true. A claim counts as stated by a caption if one of its claims
has at least four of five of its content words, compared by their first five letters. So a synonym counts as missing:
use the recall to compare captioners of the same union, not as an absolute number.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sg.artefacts.judged import TRUE, JudgedCaption, judged_path, read_judged
from sg.core.errors import MissingInputError

SHARE = 0.8
_WORD = re.compile(r"[぀-鿿]|\w+")  # Chinese and Japanese have no spaces: each character counts as a word
_EMPTY = frozenset([
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "his", "her", "in", "into", "is", "it",
    "its", "of", "on", "or", "she", "that", "the", "then", "their", "there", "they", "this", "to", "was", "were",
    "which", "while", "who", "with", "he",
])  # fmt: skip


def against_union(rows: Sequence[JudgedCaption], others: Sequence[Path], judge: str) -> list[JudgedCaption]:
    """The rows with the recall against the union of their own and the others' true claims, and what they lack of it.

    Args:
        rows: judged captions.
        others: files of other captions of the same videos, which the same judge has judged.
        judge: its name.

    Raises:
        MissingInputError: other captions have not been judged yet.
    """
    known: dict[str, list[str]] = {row.video_id: [] for row in rows}
    for path in others:
        judged = judged_path(path, judge)
        if not judged.is_file():
            raise MissingInputError(
                f"There is no {judged}: the union needs the verdicts of judge {judge} on {path} first "
                "(python -m sg.caption judge with that captioner and the same judge)."
            )
        for row in read_judged(judged):
            if row.video_id in known:
                known[row.video_id] += row.called(TRUE)
    return [_with_recall(row, known[row.video_id]) for row in rows]


def _with_recall(row: JudgedCaption, others: Iterable[str]) -> JudgedCaption:
    own, missing = row.called(TRUE), list[str]()
    for fact in others:
        if not is_stated(fact, row.claims) and not is_stated(fact, missing):
            missing.append(fact)
    whole = len(own) + len(missing)
    return replace(row, missing=tuple(missing), recall=len(own) / whole if whole else row.recall)


def is_stated(fact: str, claims: Iterable[str]) -> bool:
    """Whether one of the claims has enough of the content words of the fact."""
    words = _content(fact)
    return not words or any(len(words & _content(claim)) >= SHARE * len(words) for claim in claims)


@lru_cache(maxsize=100_000)
def _content(text: str) -> frozenset[str]:
    return frozenset(word[:5] for word in _WORD.findall(text.lower()) if word not in _EMPTY)
