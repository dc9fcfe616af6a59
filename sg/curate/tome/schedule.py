"""How many tokens a round removes; the number of tokens alone decides it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from sg.curate.tome.settings import TomeConfig


@dataclass(frozen=True, slots=True)
class Schedule:
    """The merges per round: a share of the tokens, or as many as lead to the next target size.

    Attributes:
        max_merge_fraction: largest share of the tokens that a round removes.
        last_size: the run ends at this many tokens.
        targets: falling sizes on which rounds end; empty for rounds by share.
    """

    max_merge_fraction: float
    last_size: int
    targets: tuple[int, ...] = ()

    @staticmethod
    def of(config: TomeConfig, videos: int) -> Schedule:
        """The schedule that `config` describes; rungs are scaled from `config.rungs_of` videos to `videos`."""
        sizes = [videos, *(max(config.n_min, round(videos * rung / config.rungs_of)) for rung in config.rungs)]
        targets: list[int] = []
        for above, below in itertools.pairwise(sizes):
            steps = config.rounds_per_rung
            targets.extend(above - (above - below) * step // steps for step in range(1, steps + 1))
        return Schedule(config.max_merge_fraction, config.n_min, tuple(targets))

    def is_over(self, tokens: int, executed: int) -> bool:
        """True when no further round is due for that many tokens, after `executed` rounds."""
        return tokens <= self.last_size or (bool(self.targets) and self._next_target(tokens, executed) is None)

    def merges(self, tokens: int, cap: int, executed: int) -> int:
        """Merges of a round with that many tokens, of which at most `cap` can merge, after `executed` rounds."""
        if self.is_over(tokens, executed):
            return 0
        target = self._next_target(tokens, executed)
        wanted = max(1, math.floor(self.max_merge_fraction * tokens)) if target is None else tokens - target
        return min(wanted, cap, tokens - self.last_size)

    def flop(self, tokens: int, executed: int, dim: int) -> float:
        """Floating-point operations of an exact run that starts with `tokens` tokens, if both sides have equal size."""
        total = 0.0
        while merges := self.merges(tokens, tokens // 2, executed):
            total += dim * tokens * tokens / 2
            tokens, executed = tokens - merges, executed + 1
        return total

    def _next_target(self, tokens: int, executed: int) -> int | None:
        return next((target for target in self.targets[executed:] if target < tokens), None)
