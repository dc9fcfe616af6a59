"""One round of bipartite soft matching (ToMe, arXiv 2210.09461, section 3), on tokens that each represent some videos.

A token has a vector (the mean of its videos), a size, a position in the order, and a representative. In a round the
tokens are split into sources (A) and targets (B); each source proposes its best target; the best proposals are carried
out, which means that the source becomes part of its target. See `docs/reference/tome.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sg.curate.threads import in_stripes

if TYPE_CHECKING:
    from sg.curate.matching.exact import Matches

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """n tokens in order; several may share one matrix of means.

    Attributes:
        row: [n] the video (row of `Videos`) whose key the token carries.
        representative: [n] the video that represents the token.
        size: [n] number of videos in it.
        mean: [m, d] means of their vectors, not renormalised; m may be larger than n.
        place: [n] the row of `mean` of each token. Because of it, the first round needs no copy of the vectors.
    """

    row: Rows
    representative: Rows
    size: Rows
    mean: NDArray[np.floating]
    place: Rows

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The merges of a round by falling score: positions of source and target token [r], and float64 scores [r]."""

    source: Rows
    target: Rows
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The h targets that receive sources in a round.

    Attributes:
        target: [h] their positions, rising.
        size: [h] their new sizes.
        mean: [h, d] their new means, in the type of the tokens' means.
        of_edge: [r] the group of each edge.
    """

    target: Rows
    size: Rows
    mean: NDArray[np.floating]
    of_edge: Rows


def choose_edges(
    sources: Rows,
    targets: Rows,
    matches: Matches,
    limit: int,
    size: Rows,
    max_cluster_size: int | None = None,
    min_similarity: float | None = None,
) -> Edges:
    """The best `limit` proposals; of equal scores the lower source position.

    Args:
        sources: token positions, in rising order.
        targets: token positions, in rising order.
        matches: the matches of the sources, as rows of `targets`.
        limit: largest number of edges.
        size: [n] sizes of all tokens.
        max_cluster_size: an edge whose cluster would exceed it is skipped.
        min_similarity: the edges end at the first one below it.
    """
    falling = np.argsort(-matches.score, kind="stable")
    if min_similarity is not None:
        falling = falling[matches.score[falling] >= min_similarity]
    if max_cluster_size is not None:
        falling = _within_size(falling, sources, targets[matches.target], limit, size, max_cluster_size)
    chosen = falling[:limit]
    return Edges(sources[chosen], targets[matches.target[chosen]], matches.score[chosen])


def merge_groups(tokens: Tokens, edges: Edges) -> Groups:
    """New sizes and means of the targets of `edges`; sums are taken in float64, in the order of positions."""
    target, of_edge = np.unique(edges.target, return_inverse=True)
    member = np.r_[target, edges.source]
    group = np.r_[np.arange(len(target)), of_edge]
    # Each sum runs in the order of positions: another order would change the last bits, and with them later ties.
    order = np.lexsort((member, group))
    member, group = member[order], group[order]
    starts = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    sizes = np.add.reduceat(tokens.size[member], starts)
    mean = np.empty((len(target), tokens.mean.shape[1]), dtype=tokens.mean.dtype)

    def compute(part: slice) -> None:
        first = starts[part]
        rows = member[first[0] : starts[part.stop] if part.stop < len(starts) else len(member)]
        weighted = tokens.mean[tokens.place[rows]].astype(np.float64) * tokens.size[rows, None]
        mean[part] = np.add.reduceat(weighted, first - first[0], axis=0) / sizes[part, None]

    in_stripes(compute, len(target))
    return Groups(target, sizes, mean, of_edge)


def merge_tokens(tokens: Tokens, groups: Groups, winners: Rows, order: Rows) -> Tokens:
    """The tokens at positions `order` after the round; `winners` [h] are the new representatives of the groups."""
    new_position = np.full(len(tokens), -1)
    new_position[order] = np.arange(len(order))
    hit = new_position[groups.target]
    representative, size, mean = tokens.representative[order], tokens.size[order], tokens.mean[tokens.place[order]]
    representative[hit], size[hit], mean[hit] = winners, groups.size, groups.mean
    return Tokens(tokens.row[order], representative, size, mean, np.arange(len(order)))


def kept_positions(order: str, sources: Rows, targets: Rows, matches: Matches, edges: Edges) -> Rows:
    """Positions that remain after a round, in their new order.

    In the hashed order tokens keep their key, and therefore their order. The original ToMe puts the unmerged sources
    first, by falling score, and then all targets.
    """
    if order == "hashed":
        remain = np.ones(len(sources) + len(targets), dtype=bool)
        remain[edges.source] = False
        return np.flatnonzero(remain)
    falling = sources[np.argsort(-matches.score, kind="stable")]
    return np.concatenate([falling[~np.isin(falling, edges.source)], targets])


def _within_size(falling: Rows, sources: Rows, targets_of: Rows, limit: int, size: Rows, max_cluster_size: int) -> Rows:
    """The first `limit` rows of `falling` whose merge keeps every cluster within `max_cluster_size` videos."""
    # A loop, because each accepted merge changes the size that decides the next one.
    grown = size.copy()
    accepted: list[int] = []
    for row in falling.tolist():
        if len(accepted) == limit:
            break
        total = grown[targets_of[row]] + size[sources[row]]
        if total <= max_cluster_size:
            grown[targets_of[row]] = total
            accepted.append(row)
    return np.array(accepted, dtype=np.int64)
