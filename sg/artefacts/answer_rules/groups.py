"""The non-linear score of a group of questions in Video-MME-v2.

See `docs/reference/benchmarks.md`, section 1.
"""

from collections.abc import Sequence
from itertools import takewhile

RELEVANCE = "relevance"
_SQUARES = (0.0, 6.25, 25.0, 56.25, 100.0)
_LOGIC = {
    "logic [1, 2, 3, 4]": _SQUARES,
    "logic [1, [2, 3], 4]": (0.0, 100 / 12, 400 / 12, 700 / 12, 100.0),
    "logic [[1, 2], 3, 4]": (0.0, 10.0, 20.0, 50.0, 100.0),
}
_BRANCH = {"logic [1, [2, 3], 4]": 1, "logic [[1, 2], 3, 4]": 0}
"""Where the first of two equal questions stands: the second one counts too if only the first is wrong."""
GROUPS = (RELEVANCE, *_LOGIC)
"""The kinds of groups, as the task types of their questions name them."""


def group_score(kind: str, scores: Sequence[int]) -> float:
    """The score of a group in percent; `scores` are 1, 0 or -1 (unanswered) per question, at most four.

    In a group of kind `relevance` the squared share of right answers counts, and an unanswered question takes one away.
    In a group of kind `logic` the number of questions before the first wrong one counts. An unanswered question is not
    a wrong one, so a model that answers nothing scores 100.
    """
    if kind == RELEVANCE:
        return _SQUARES[max(sum(scores), 0)]
    steps = len(list(takewhile(bool, scores)))
    branch = _BRANCH.get(kind)
    if steps == branch and len(scores) > branch + 1 and scores[branch + 1] != 0:
        steps += 1
    return _LOGIC[kind][steps]


def linear_score(scores: Sequence[int]) -> float:
    """The linear score of a group of kind `relevance`: 25 per right answer, less 25 per unanswered question."""
    return 25.0 * sum(scores)
