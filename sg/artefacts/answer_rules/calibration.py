"""Scores that resolve what accuracy cannot: the probability of the right option, and whether confidence is deserved.

The probabilities of a question are a softmax over its options: of the logits of their letters, or of the mean
log-probabilities per token of their texts, so that a long text is not less likely for its length.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import Prediction

BINS = 10
AGREEING = 90.0
"""Probabilities of letters mean something if at least this share of the answers, in percent, has the likeliest letter.

They are those of the first generated token. A model that writes the text of an option first, then its letter, has no
reason to give the right letter a high probability there.
"""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The questions whose likeliest option has a probability from `low` to `high`, in percent."""

    low: float
    high: float
    questions: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class OptionCalibration:
    """Probabilities among the options of a question, over the questions that have them; all in percent.

    Attributes:
        right: mean probability of the right option; guessing gives the reciprocal of the number of options.
        log_loss: mean negative log-probability of the right option, in nats.
        ece: expected calibration error: the mean distance of confidence and accuracy over `bins`, by their questions.
        bins: the reliability diagram; empty bins are left out.
        agreement: share of the questions whose likeliest option is the one that the response chooses; a question
            without a chosen option does not agree.
    """

    questions: int
    right: float
    log_loss: float
    ece: float
    bins: list[ReliabilityBin]
    agreement: float


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


LIKELIHOODS = {"letter": by_letter, "text": by_text}


def calibration(
    rows: Sequence[Prediction], values: Callable[[Prediction], Sequence[float]] = by_letter
) -> OptionCalibration | None:
    """The calibration of the rows of one setting; None if the model gave no probabilities.

    Args:
        values: `by_letter` or `by_text`.
    """
    return calibration_of([likelihood(row, values(row)) for row in rows if values(row)])


class Likelihood(NamedTuple):
    """The values of a question's options, and the places of the right one and of the chosen one (-1 for none)."""

    values: Sequence[float]
    right: int
    chosen: int


def likelihood(row: Prediction, values: Sequence[float]) -> Likelihood:
    """The values of the options of a row, with its answers."""
    return Likelihood(values, LETTERS.index(row.answer), LETTERS.index(row.letter) if row.letter else -1)


def calibration_of(questions: Sequence[Likelihood]) -> OptionCalibration | None:
    """The calibration of questions; None if there are none."""
    if not questions:
        return None
    known = [(probabilities(one.values), one) for one in questions]
    right = [found[one.right] for found, one in known]
    agreeing = 0
    groups: dict[int, list[tuple[float, bool]]] = {}
    for found, one in known:
        confidence = max(found)
        likeliest = found.index(confidence)
        agreeing += likeliest == one.chosen
        groups.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, likeliest == one.right))
    bins = [_bin(at, groups[at]) for at in sorted(groups)]
    return OptionCalibration(
        questions=len(known),
        right=100 * sum(right) / len(known),
        log_loss=-sum(math.log(max(one, 1e-30)) for one in right) / len(known),
        ece=sum(one.questions * abs(one.confidence - one.accuracy) for one in bins) / len(known),
        bins=bins,
        agreement=100 * agreeing / len(known),
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


def calibration_line(found: OptionCalibration, of: str = "letter") -> str:
    """The scores in one line; `of` is `letter` or `text`."""
    line = (
        f"right {of} {found.right:.1f} % likely (log loss {found.log_loss:.3f}), calibration error {found.ece:.1f} "
        f"points over {found.questions:,} questions"
    )
    if of == "letter" and found.agreement < AGREEING:
        line += (
            f", which says little: only {found.agreement:.0f} % of the answers have the likeliest letter, because they "
            "do not begin with it"
        )
    return line


def reliability_text(found: OptionCalibration) -> str:
    """The reliability diagram as a table: confidence, accuracy and a bar per bin."""
    lines = ["confidence, %  questions  mean, %  right, %"]
    for one in found.bins:
        span, bar = f"{one.low:.0f} to {one.high:.0f}", "#" * round(one.accuracy / 5)
        lines.append(f"{span:<15}{one.questions:<11,}{one.confidence:<9.1f}{one.accuracy:<9.1f}{bar}")
    return "\n".join(lines) + "\n"
