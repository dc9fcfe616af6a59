"""Decision accuracy: of the pairs of choices, how often a small model or scale picks the one that a large one picks.

A pick is the choice with the better mean over seeds. The share of equal picks is a rank correlation in other words
(Kendall's tau is twice the share, minus one), and its pairs are not independent: every choice is in several. Its
interval is over choices, as if others had been tried. `benchmarks/statistics/decisions.py` measures its coverage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sg.report.numbers.estimates import Estimate

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """How often a small rung of the ladder picks as the large one does, in one metric.

    Attributes:
        picked_by: the metric of the small rung; `metric`: that of the large one.
        small, large: the rungs, in words.
        choices, pairs: numbers of choices that both rungs have, and of their pairs.
        share: of equal picks in %, with its 95 % interval over choices; a tie counts as half.
        resolved: pairs that the large rung resolves (p < .05, not corrected); `resolved_equal`: equal picks among them.
    """

    picked_by: str
    metric: str
    small: str
    large: str
    choices: int
    pairs: int
    share: Estimate
    resolved: int
    resolved_equal: int


def decision_row(
    picked_by: str,
    metric: str,
    small: str,
    large: str,
    small_scores: Sequence[float],
    large_gaps: Mapping[tuple[int, int], Estimate],
) -> DecisionRow:
    """Compare the picks of two rungs.

    Args:
        small_scores: mean of each choice at the small rung, [choices]; larger is better.
        large_gaps: by pair of choices (first < second), the difference first minus second at the large rung; larger is
            better.
    """
    pairs = list(combinations(range(len(small_scores)), 2))
    equal = {(i, j): _agreement(small_scores[i] - small_scores[j], large_gaps[i, j].value) for i, j in pairs}
    resolved = [pair for pair in pairs if (p := large_gaps[pair].p) is not None and p < LEVEL]
    share = sum(equal.values()) / len(pairs)
    low, high = share_interval(share, len(small_scores))
    estimate = Estimate(100 * share, 100 * low, 100 * high, 100 * (high - low) / 4)
    wins = sum(equal[pair] > 0.5 for pair in resolved)
    return DecisionRow(picked_by, metric, small, large, len(small_scores), len(pairs), estimate, len(resolved), wins)


def _agreement(small: float, large: float) -> float:
    """1 for equal signs, 0 for opposite ones, 0.5 for a tie."""
    return 0.5 + 0.5 * float(np.sign(small) * np.sign(large))


def effective_pairs(share: float, choices: int) -> float:
    """Number of independent pairs whose share of equal picks varies as much as that of all pairs of `choices` choices.

    From the variance of Kendall's tau for normal scores of correlation r, where tau = 2 asin(r) / pi (Esscher 1924):
    2 / (k (k - 1)) * (1 - tau^2 + 2 (k - 2) (1 / 9 - (2 asin(r / 2) / pi)^2)).
    """
    tau = float(np.clip(2 * share - 1, -1 + 1e-9, 1 - 1e-9))
    shared = 1 / 9 - (2 / np.pi * np.arcsin(np.sin(np.pi * tau / 2) / 2)) ** 2
    variance = 2 / (choices * (choices - 1)) * (1 - tau**2 + 2 * (choices - 2) * shared)
    return float((1 - tau**2) / variance)


def share_interval(share: float, choices: int) -> tuple[float, float]:
    """95 % interval of a share of equal picks over choices: all true shares that a score test (Wilson) keeps."""
    from scipy.stats import norm

    grid = np.linspace(0, 1, 2001)
    variance = grid * (1 - grid) / np.array([effective_pairs(one, choices) for one in grid])
    kept = grid[(share - grid) ** 2 <= norm.ppf(1 - LEVEL / 2) ** 2 * variance + 1e-12]
    return float(kept.min()), float(kept.max())
