"""Scores that resolve what accuracy cannot: the probability of the right letter, and whether confidence is deserved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import Prediction

BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The questions whose likeliest letter has a probability from `low` to `high`, in percent."""

    low: float
    high: float
    questions: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class LetterCalibration:
    """Probabilities among the letters of a question, over the questions that have them; all in percent.

    Attributes:
        right_letter: mean probability of the right letter; guessing gives the reciprocal of the number of options.
        log_loss: mean negative log-probability of the right letter, in nats.
        ece: expected calibration error: the mean distance of confidence and accuracy over `bins`, by their questions.
        bins: the reliability diagram; empty bins are left out.
    """

    questions: int
    right_letter: float
    log_loss: float
    ece: float
    bins: tuple[ReliabilityBin, ...]


def probabilities(row: Prediction) -> list[float]:
    """The probability of each letter among those of the question; empty without logits."""
    if not row.letter_logits:
        return []
    largest = max(row.letter_logits)
    weights = [math.exp(logit - largest) for logit in row.letter_logits]
    return [weight / sum(weights) for weight in weights]


def calibration(rows: Sequence[Prediction]) -> LetterCalibration | None:
    """The calibration of the rows of one setting; None if the model gave no probabilities."""
    known = [(row, found) for row in rows if (found := probabilities(row))]
    if not known:
        return None
    right = [found[LETTERS.index(row.answer)] for row, found in known]
    groups: dict[int, list[tuple[float, bool]]] = {}
    for row, found in known:
        confidence = max(found)
        is_right = LETTERS[found.index(confidence)] == row.answer
        groups.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, is_right))
    bins = tuple(_bin(at, groups[at]) for at in sorted(groups))
    return LetterCalibration(
        questions=len(known),
        right_letter=100 * sum(right) / len(known),
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


def calibration_line(found: LetterCalibration) -> str:
    """The scores in one line."""
    return (
        f"right letter {found.right_letter:.1f} % likely (log loss {found.log_loss:.3f}), calibration error "
        f"{found.ece:.1f} points over {found.questions:,} questions"
    )


def reliability_text(found: LetterCalibration) -> str:
    """The reliability diagram as a table: confidence, accuracy and a bar per bin."""
    lines = ["confidence, %  questions  mean, %  right, %"]
    for one in found.bins:
        span, bar = f"{one.low:.0f} to {one.high:.0f}", "#" * round(one.accuracy / 5)
        lines.append(f"{span:<15}{one.questions:<11,}{one.confidence:<9.1f}{one.accuracy:<9.1f}{bar}")
    return "\n".join(lines) + "\n"
