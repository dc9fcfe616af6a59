"""The merge forest by ToMe: rounds of bipartite matching from all videos down to one, with a record of each removal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.forest import COLLAPSE_ROUND
from sg.core.progress import Progress
from sg.curate.matching.exact import BlockStore
from sg.curate.matching.matchers import Matchers
from sg.curate.order import is_target_side
from sg.curate.removals import Removals
from sg.curate.tome.rounds import Edges, Rows, Tokens, choose_edges, kept_positions, merge_groups, merge_tokens
from sg.curate.tome.schedule import Schedule
from sg.curate.tome.settings import TomeConfig
from sg.curate.tome.survivors import Survivor, best_of_groups, choose_winners, removals_of_round, survivor_rule
from sg.curate.videos import Videos

_GIGA = 1e9
_LONG_RUN = 2e13
"""Floating-point operations that take a CPU minutes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """Statistics of one round.

    Attributes:
        round: its number.
        tokens: tokens before it.
        sources: tokens on side A.
        targets: tokens on side B.
        merges: merges that were carried out.
        cut: lowest score among them.
        agreement: share of a sample of the merges that an exact match would have chosen; None if the match was exact.
        seconds: wall-clock time.
    """

    round: int
    tokens: int
    sources: int
    targets: int
    merges: int
    cut: float | None
    agreement: float | None
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class RunState:
    """A run between two rounds."""

    next_round: int
    tokens: Tokens
    removals: Removals
    rounds: list[RoundRecord]
    is_stuck: bool = False
    """True when the last round made no merge."""


class StateStore(Protocol):
    """Keeps a run between rounds, and the finished blocks within one."""

    def load_round(self) -> RunState | None:
        """The last state that was kept; None if there is none."""
        ...

    def save_round(self, state: RunState) -> None:
        """Keep the state if enough time has passed since the last one was kept."""
        ...

    def blocks(self, round_number: int) -> BlockStore:
        """The store of the finished blocks of a round."""
        ...


def merge_videos(
    videos: Videos, config: TomeConfig, store: StateStore | None = None
) -> tuple[Removals, list[RoundRecord]]:
    """Remove the videos by merging; the tokens that no round removes come last, by falling position.

    Returns the removals (every row once) and the statistics of each round.
    """
    if not len(videos):
        return Removals.none(), []
    return merge_from(videos, config, _first_state(videos, config), store)


def merge_from(
    videos: Videos, config: TomeConfig, state: RunState, store: StateStore | None = None
) -> tuple[Removals, list[RoundRecord]]:
    """Like `merge_videos`, but starting from `state`, or from a later state that `store` has kept."""
    state = (store.load_round() if store else None) or state
    schedule = Schedule.of(config, len(videos))
    planned = schedule.flop(len(state.tokens), len(state.rounds), videos.unit.shape[1])
    matchers = Matchers(config, videos.unit)
    if planned > _LONG_RUN and matchers.could_be_bounded:
        log.info("curation: on a CPU, curator.matcher=projected finds the same forest in a quarter of the time")
    with Progress("match", total=max(1, round(planned / _GIGA)), unit="GFLOP") as bar:
        run = _TomeRun(videos, config, schedule, matchers, FlopMeter(bar), store)
        while not state.is_stuck and not schedule.is_over(len(state.tokens), len(state.rounds)):
            state = run.next_state(state)
            if store:
                store.save_round(state)
    return Removals.join([state.removals, Removals.plain(state.tokens.representative[::-1])]), state.rounds


def _first_state(videos: Videos, config: TomeConfig) -> RunState:
    rows = np.arange(len(videos))
    singletons = Tokens(rows, rows, np.ones(len(rows), np.int64), videos.unit, rows)
    if not config.collapse_exact:
        return RunState(0, singletons, Removals.none(), [])
    tokens, removals = collapse_exact(videos, singletons, survivor_rule(config.survivor))
    return RunState(0, tokens, removals, [])


def collapse_exact(videos: Videos, singletons: Tokens, survivor: Survivor) -> tuple[Tokens, Removals]:
    """Group videos with bitwise equal vectors; the survivor of a group keeps its own key and has the size of the group.

    The survivor is chosen as in a round, with equal centrality for all; with `dst` it is the lowest row.
    """
    families, family_of, sizes = np.unique(videos.family, return_inverse=True, return_counts=True)
    winners = families
    if survivor != "dst":
        equal = np.zeros(len(videos))
        winners = best_of_groups(survivor, family_of, np.arange(len(videos)), equal, videos.caption_length)
    into = winners[family_of]
    gone = np.flatnonzero(into != np.arange(len(videos)))
    kept = np.sort(winners)
    size = sizes[family_of[kept]]
    removals = Removals(gone, into[gone], np.ones(len(gone)), np.full(len(gone), COLLAPSE_ROUND))
    return Tokens(kept, kept, size, singletons.mean, kept), removals


def split_sides(videos: Videos, order: str, tokens: Tokens, round_number: int) -> tuple[Rows, Rows]:
    """Positions of the sources (A) and targets (B) of a round."""
    positions = np.arange(len(tokens))
    if order != "hashed":
        return positions[0::2], positions[1::2]
    is_target = is_target_side(videos.keys[tokens.row], round_number)
    return positions[~is_target], positions[is_target]


@dataclass(frozen=True, slots=True, eq=False)
class _TomeRun:
    """What all rounds of a run have in common."""

    videos: Videos
    config: TomeConfig
    schedule: Schedule
    matchers: Matchers
    meter: FlopMeter
    store: StateStore | None

    def next_state(self, state: RunState) -> RunState:
        """The state after one more round.

        If one side is empty, only the round number advances: the next number splits the tokens in another way.
        """
        started = time.monotonic()
        tokens, number = state.tokens, state.next_round
        sources, targets = split_sides(self.videos, self.config.order, tokens, number)
        if not len(sources) or not len(targets):
            return replace(state, next_round=number + 1)
        # With a hashed split every source may merge. The original ToMe merges at most floor(n / 2) of n tokens: the
        # number of targets of its alternating split.
        cap = len(sources) if self.config.order == "hashed" else len(targets)
        merges = self.schedule.merges(len(tokens), cap, len(state.rounds))
        vectors, positions = self._vectors(tokens)
        advance = self.meter.of_round(len(targets), vectors.shape[1])
        blocks = self.store.blocks(number) if self.store else None
        matches = self.matchers.match(vectors, positions[sources], positions[targets], advance, blocks)
        limits = self.config.max_cluster_size, self.config.min_similarity
        edges = choose_edges(sources, targets, matches, merges, tokens.size, *limits)
        agreement = self._agreement(tokens, edges, len(sources), targets)
        after, removed = tokens, Removals.none()
        if len(edges):
            order = kept_positions(self.config.order, sources, targets, matches, edges)
            after, removed = self._apply(tokens, edges, order, number)
        record = RoundRecord(
            number,
            len(tokens),
            len(sources),
            len(targets),
            len(edges),
            cut=float(edges.score[-1]) if len(edges) else None,
            agreement=agreement,
            seconds=round(time.monotonic() - started, 3),
        )
        removals = Removals.join([state.removals, removed])
        return RunState(number + 1, after, removals, [*state.rounds, record], is_stuck=not len(edges))

    def _vectors(self, tokens: Tokens) -> tuple[NDArray[np.floating], Rows]:
        """The vectors that represent the tokens in a match: a matrix, and the row of each token in it."""
        if self.config.metric == "mean":
            return tokens.mean, tokens.place
        return self.videos.unit, tokens.representative

    def _agreement(self, tokens: Tokens, edges: Edges, sources: int, targets: Rows) -> float | None:
        if not len(edges) or not self.matchers.is_partial(sources, len(targets)):
            return None
        vectors, rows = self._vectors(tokens)
        on_rows = Edges(rows[edges.source], rows[edges.target], edges.score)
        return self.matchers.agreement(vectors, on_rows, rows[targets])

    def _apply(self, tokens: Tokens, edges: Edges, order: Rows, number: int) -> tuple[Tokens, Removals]:
        """The tokens after the round (at positions `order` of those before), and the videos that the edges remove."""
        groups = merge_groups(tokens, edges)
        winners = choose_winners(survivor_rule(self.config.survivor), tokens, edges, groups, self.videos)
        removed = removals_of_round(tokens, edges, groups, winners, number)
        return merge_tokens(tokens, groups, winners, order), removed


class FlopMeter:
    """Advances a progress bar that counts GFLOP, because rounds differ widely in length."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._rest = 0.0

    def of_round(self, targets: int, dim: int) -> Callable[[int], None]:
        """A function to call with the number of rows that were compared with `targets` vectors of length `dim`."""

        def advance(rows: int) -> None:
            gflop, self._rest = divmod(self._rest + 2 * rows * targets * dim / _GIGA, 1.0)
            self._bar.advance(int(gflop))

        return advance
