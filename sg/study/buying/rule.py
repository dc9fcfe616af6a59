"""When to stop buying captions: what the next doubling is predicted to gain, against what it costs.

The gain of a doubling is the fall of the held-out loss, in nats per token, on the same captions before and after. Gains
of a power law shrink by one factor per doubling. So the next gain is the last one times the ratio of the last two,
where that is between 0 and 1; after one doubling, the last gain itself, which is rather too much. The interval is a
bootstrap over the held-out captions: it does not cover training again with another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 1000
FEWEST = 2
"""Cores before the first prediction."""


@dataclass(frozen=True, slots=True)
class NextCore:
    """The predicted fall of the loss by the next core, in nats per token, with its 95 % interval, and its price."""

    gain: float
    low: float
    high: float
    usd: float
    wanted: float

    @property
    def is_worth_it(self) -> bool:
        """Whether the predicted gain per dollar reaches the wanted one."""
        return self.gain >= self.wanted * self.usd

    @property
    def text(self) -> str:
        """The prediction in words."""
        verb = "reaches" if self.is_worth_it else "does not reach"
        return (
            f"the next core is predicted to lower the held-out loss by {self.gain:.4f} nats per token "
            f"([{self.low:.4f}, {self.high:.4f}] over held-out captions, and the chance of another training beside it) "
            f"for ${self.usd:,.2f}, which {verb} {self.wanted:g} per dollar ({self.wanted * self.usd:.4f})"
        )


def forecast(
    captions: Sequence[int],
    nats: Sequence[Sequence[float]],
    tokens: Sequence[int],
    after: int,
    usd: float,
    wanted: float,
) -> NextCore:
    """What the next core gains.

    Args:
        captions: [k] captions of the cores so far, rising; k >= 2.
        nats: [k, n] loss of each held-out caption after each core.
        tokens: [n] of each held-out caption.
        after: captions of the next core.
        usd: what the next core costs in addition.
        wanted: the least gain per dollar.
    """
    import numpy as np

    losses, weights = np.array(nats, float), np.array(tokens, float)
    draws = np.random.default_rng(0).multinomial(len(tokens), np.full(len(tokens), 1 / len(tokens)), RESAMPLES)
    counts = np.vstack([np.ones(len(tokens)), draws])  # the first row is the data
    curve = (counts @ losses.T) / (counts @ weights)[:, None]  # [1 + resamples, k]
    steps = np.diff(np.log2(np.array(captions, float)))
    gains = -np.diff(curve, axis=1) / steps  # per doubling
    predicted = gains[:, -1] * _ratio(gains) * log2(after / captions[-1])
    low, high = np.percentile(predicted[1:], [2.5, 97.5])
    return NextCore(float(predicted[0]), float(low), float(high), usd, wanted)


def _ratio(gains: NDArray[np.floating]) -> NDArray[np.floating]:
    """[resamples] by how much a gain shrinks per doubling; 1 where there is only one gain."""
    import numpy as np

    if gains.shape[1] < 2:
        return np.ones(len(gains))
    before = np.where(gains[:, -2] > 0, gains[:, -2], np.inf)
    return np.clip(np.where(np.isinf(before), 1.0, gains[:, -1] / before), 0.0, 1.0)
