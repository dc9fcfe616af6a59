"""The representative of a cluster, and the removals of a round that follow from it: which video merges into which."""

from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from sg.curate.removals import Removals
from sg.curate.threads import in_stripes
from sg.curate.tome.rounds import Edges, Groups, Rows, Tokens
from sg.curate.videos import Videos

Survivor = Literal["medoid", "longest_caption", "dst"]

_CENTRALITY_DECIMALS = 4


def survivor_rule(name: str) -> Survivor:
    """The rule called `name`; the config has checked the name."""
    return cast(Survivor, name)


def choose_winners(rule: Survivor, tokens: Tokens, edges: Edges, groups: Groups, videos: Videos) -> Rows:
    """[h] new representative of each group of this round.

    `dst`: that of the target. `medoid`: among the representatives that meet, the one nearest to the new mean (cosine
    to 4 decimals), then the one with the longer caption, then the lower row. `longest_caption`: the same with the first
    two criteria swapped.
    """
    if rule == "dst":
        return tokens.representative[groups.target]
    group = np.r_[np.arange(len(groups.target)), groups.of_edge]
    candidate = tokens.representative[np.r_[groups.target, edges.source]]
    centrality = _centrality(videos.unit, candidate, groups.mean, group)
    return best_of_groups(rule, group, candidate, centrality, videos.caption_length)


def best_of_groups(
    rule: Survivor, group: Rows, candidate: Rows, centrality: NDArray[np.float64], caption_length: Rows
) -> Rows:
    """[h] the preferred candidate of each group; `group`, `candidate` and `centrality` are [c]."""
    criteria = [-centrality, -caption_length[candidate]]
    if rule == "longest_caption":
        criteria.reverse()
    order = np.lexsort((candidate, criteria[1], criteria[0], group))
    first = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    winners: Rows = candidate[order][first]
    return winners


def removals_of_round(tokens: Tokens, edges: Edges, groups: Groups, winners: Rows, round_number: int) -> Removals:
    """The videos that the edges remove, in the order of the edges.

    Each edge removes one video. As long as the winner of a group has not arrived, the representative of the source is
    merged into the old representative of the target. The edge that brings the winner removes the old representative
    instead, and merges it into the winner. Later sources are merged into the winner. So every video is merged into one
    that is still there, and no video is removed twice.
    """
    arriving = tokens.representative[edges.source]
    old = tokens.representative[edges.target]
    winner = winners[groups.of_edge]
    rank = np.arange(len(edges))
    turn = np.full(len(groups.target), len(edges))
    is_turn = arriving == winner
    turn[groups.of_edge[is_turn]] = rank[is_turn]
    turn_of_edge = turn[groups.of_edge]
    video = np.where(is_turn, old, arriving)
    into = np.where(rank < turn_of_edge, old, winner)
    return Removals(video, into, edges.score, np.full(len(edges), round_number))


def _centrality(
    unit: NDArray[np.floating], candidate: Rows, mean: NDArray[np.floating], group: Rows
) -> NDArray[np.float64]:
    """[c] cosine of each candidate's own vector with the mean of its group, rounded; 0 where the mean is zero."""
    cosine = np.empty(len(candidate))

    def compute(part: slice) -> None:
        own, centre = unit[candidate[part]].astype(np.float64), mean[group[part]].astype(np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", own, own) * np.einsum("nd,nd->n", centre, centre))
        cosine[part] = np.einsum("nd,nd->n", own, centre) / np.where(lengths > 0, lengths, 1.0)

    in_stripes(compute, len(candidate))
    return np.round(cosine, _CENTRALITY_DECIMALS)
