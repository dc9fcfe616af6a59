"""Cohen's kappa with an interval over videos."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two raters agree beyond chance: kappa with its 95 % interval, NaN where it is not defined."""

    kappa: float
    low: float
    high: float
    agreed: float
    count: int
    videos: int


def kappa(videos: Sequence[Sequence[tuple[Hashable, Hashable]]], seed: int = 0) -> Agreement:
    """The agreement of pairs of answers, grouped by video.

    The interval is the percentile interval of 2,000 draws of whole videos with replacement, because answers about one
    video depend on each other. Draws in which kappa is not defined are left out.
    """
    import numpy as np

    answers = sorted({repr(answer) for answer in chain.from_iterable(chain.from_iterable(videos))})
    place = {answer: number for number, answer in enumerate(answers)}
    tables = np.zeros((len(videos), len(answers), len(answers)))
    for number, pairs in enumerate(videos):
        for one, other in pairs:
            tables[number, place[repr(one)], place[repr(other)]] += 1
    whole = tables.sum(0)
    generator, share = np.random.default_rng(seed), 1 / max(len(videos), 1)
    drawn = generator.multinomial(len(videos), [share] * len(videos), RESAMPLES) if videos else np.zeros((1, 0))
    values = _kappas(np.tensordot(drawn, tables, 1))
    kept = values[~np.isnan(values)]
    low, high = np.percentile(kept, [2.5, 97.5]) if len(kept) else (np.nan, np.nan)
    count = int(whole.sum())
    agreed = float(np.trace(whole)) / count if count else float("nan")
    return Agreement(float(_kappas(whole[None])[0]), float(low), float(high), agreed, count, len(videos))


def _kappas(tables: Any) -> Any:
    """Kappa of each table [N, A, A] of counts."""
    import numpy as np

    total = tables.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = np.trace(tables, axis1=1, axis2=2) / total
        chance = (tables.sum(1) * tables.sum(2)).sum(1) / total**2
        return np.where(chance < 1, (seen - chance) / (1 - chance), np.nan)
