"""Scores that resolve what accuracy cannot: the probability of the right option, and whether confidence is deserved.

The probabilities of a question are a softmax over its options: of the logits of their letters, or of the mean
log-probabilities per token of their texts, so that a long text is not less likely for its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import Prediction

BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The questions whose likeliest option has a probability from `low` to `high`, in percent."""

    low: float
    high: float
    questions: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probabilities among the options of a question, over the questions that have them; all in percent.

    Attributes:
        right: mean probability of the right option; guessing gives the reciprocal of the number of options.
        log_loss: mean negative log-probability of the right option, in nats.
        ece: expected calibration error: the mean distance of confidence and accuracy over `bins`, by their questions.
        bins: the reliability diagram; empty bins are left out.
    """

    questions: int
    right: float
    log_loss: float
    ece: float
    bins: tuple[ReliabilityBin, ...]


def by_letter(row: Prediction) -> Sequence[float]:
    """The logits of the letters of a question."""
    return row.letter_logits


def by_text(row: Prediction) -> Sequence[float]:
    """The mean log-probabilities per token of the texts of the options."""
    return row.option_logprobs


def probabilities(values: Sequence[float]) -> list[float]:
    """The softmax of the values of a question's options; empty without any."""
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / sum(weights) for weight in weights]


def calibration(
    rows: Sequence[Prediction], values: Callable[[Prediction], Sequence[float]] = by_letter
) -> Calibration | None:
    """The calibration of the rows of one setting; None if the model gave no probabilities.

    Args:
        values: `by_letter` or `by_text`.
    """
    known = [(row, found) for row in rows if (found := probabilities(values(row)))]
    if not known:
        return None
    right = [found[LETTERS.index(row.answer)] for row, found in known]
    groups: dict[int, list[tuple[float, bool]]] = {}
    for row, found in known:
        confidence = max(found)
        is_right = LETTERS[found.index(confidence)] == row.answer
        groups.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, is_right))
    bins = tuple(_bin(at, groups[at]) for at in sorted(groups))
    return Calibration(
        questions=len(known),
        right=100 * sum(right) / len(known),
        log_loss=-sum(math.log(max(one, 1e-30)) for one in right) / len(known),
        ece=sum(one.questions * abs(one.confidence - one.accuracy) for one in bins) / len(known),
        bins=bins,
    )


def _bin(at: int, members: Sequence[tuple[float, bool]]) -> ReliabilityBin:
    count = len(members)
    confidence = 100 * sum(one for one, _ in members) / count
    return ReliabilityBin(
        100 * at / BINS,
        100 * (at + 1) / BINS,
        count,
        confidence,
        100 * sum(is_right for _, is_right in members) / count,
    )


def calibration_line(found: Calibration, of: str = "letter") -> str:
    """The scores in one line; `of` is `letter` or `text`."""
    return (
        f"right {of} {found.right:.1f} % likely (log loss {found.log_loss:.3f}), calibration error {found.ece:.1f} "
        f"points over {found.questions:,} questions"
    )


def reliability_text(found: Calibration) -> str:
    """The reliability diagram as a table: confidence, accuracy and a bar per bin."""
    lines = ["confidence, %  questions  mean, %  right, %"]
    for one in found.bins:
        span, bar = f"{one.low:.0f} to {one.high:.0f}", "#" * round(one.accuracy / 5)
        lines.append(f"{span:<15}{one.questions:<11,}{one.confidence:<9.1f}{one.accuracy:<9.1f}{bar}")
    return "\n".join(lines) + "\n"
