"""A slow reference for the merge forest: loops over pairs in float64, written from the rules, without code of `sg`."""

import hashlib
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

MASK = 2**64 - 1


@dataclass
class Token:
    key: int
    representative: int
    size: int
    mean: np.ndarray


@dataclass
class Result:
    """Removals in order: (row, row it is merged into or -1, similarity or nan, round or None), rows in key order.

    `margin` is the smallest difference that decided anything; a difference of zero is a tie and does not count.
    """

    ids: list[str]
    removals: list[tuple[int, int, float, int | None]] = field(default_factory=list)
    rounds: list[tuple[int, int, int, int]] = field(default_factory=list)
    margin: float = math.inf

    def decide(self, difference: float) -> None:
        if abs(difference) > 1e-11:
            self.margin = min(self.margin, abs(difference))


@dataclass
class Rules:
    seed: int = 0
    order: str = "hashed"
    fraction: float = 0.25
    n_min: int = 1
    survivor: str = "medoid"
    metric: str = "mean"
    collapse: bool = False
    max_cluster_size: int | None = None
    min_similarity: float | None = None


def key_of(video_id: str, seed: int) -> int:
    secret = seed.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8, key=secret).digest(), "little")


def side(key: int, number: int) -> int:
    z = (key + (number + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return (z ^ z >> 31) >> 63


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    lengths = math.sqrt(float(first @ first)) * math.sqrt(float(second @ second))
    return float(first @ second) / lengths if lengths else 0.0


def merge_forest(ids: list[str], x: np.ndarray, caption_lengths: list[int], rules: Rules) -> Result:
    """The removals of a run over the stored vectors `x` [N, d]."""
    keys = [key_of(video_id, rules.seed) for video_id in ids]
    order = sorted(range(len(ids)), key=keys.__getitem__) if rules.order == "hashed" else list(range(len(ids)))
    unit = x[order].astype(np.float64)
    unit = np.array([row / math.sqrt(float(row @ row)) for row in unit]).reshape(len(ids), x.shape[1])
    run = _Run(Result([ids[row] for row in order]), unit, [caption_lengths[row] for row in order], rules)
    tokens = [Token(keys[row], place, 1, unit[place]) for place, row in enumerate(order)]
    if rules.collapse:
        tokens = run.collapse(tokens, [x[row].tobytes() for row in order])
    number, stuck = 0, False
    while len(tokens) > rules.n_min and not stuck:
        tokens, stuck = run.round(tokens, number)
        number += 1
    run.result.removals += [(token.representative, -1, math.nan, None) for token in reversed(tokens)]
    return run.result


@dataclass
class _Run:
    result: Result
    unit: np.ndarray
    lengths: list[int]
    rules: Rules

    def collapse(self, tokens: list[Token], stored: list[bytes]) -> list[Token]:
        groups: dict[bytes, list[int]] = {}
        for row, vector in enumerate(stored):
            groups.setdefault(vector, []).append(row)
        winner = {}
        for rows in groups.values():
            best = rows[0] if self.rules.survivor == "dst" else min(rows, key=lambda row: (-self.lengths[row], row))
            winner |= dict.fromkeys(rows, best)
            tokens[best].size = len(rows)
        self.result.removals += [(row, into, 1.0, -1) for row, into in sorted(winner.items()) if row != into]
        return [token for token in tokens if winner[token.representative] == token.representative]

    def round(self, tokens: list[Token], number: int) -> tuple[list[Token], bool]:
        hashed = self.rules.order == "hashed"
        sides = [side(token.key, number) if hashed else place % 2 for place, token in enumerate(tokens)]
        a, b = ([place for place, which in enumerate(sides) if which == wanted] for wanted in (0, 1))
        if not a or not b:
            return tokens, False
        cap = len(a) if hashed else len(b)
        limit = min(max(1, math.floor(self.rules.fraction * len(tokens))), cap, len(tokens) - self.rules.n_min)
        best = {source: self.best(tokens, source, b) for source in a}
        falling = sorted(a, key=lambda source: (-best[source][0], source))
        for before, source in itertools.pairwise(
            falling[: limit + 1] if hashed and self.rules.max_cluster_size is None else falling
        ):
            self.result.decide(best[before][0] - best[source][0])
        edges = self.edges(tokens, falling, best, limit)
        if not edges:
            return tokens, True
        self.result.rounds.append((number, len(a), len(b), len(edges)))
        self.apply(tokens, edges, best, number)
        gone = set(edges)
        kept = range(len(tokens)) if hashed else [*falling, *b]
        return [tokens[place] for place in kept if place not in gone], False

    def best(self, tokens: list[Token], source: int, targets: list[int]) -> tuple[float, int]:
        vectors = [token.mean if self.rules.metric == "mean" else self.unit[token.representative] for token in tokens]
        scores = [round(cosine(vectors[source], vectors[target]), 11) for target in targets]
        top = max(scores)
        for score in scores:
            self.result.decide(top - score)
        return top, targets[scores.index(top)]

    def edges(
        self, tokens: list[Token], falling: list[int], best: dict[int, tuple[float, int]], limit: int
    ) -> list[int]:
        grown = {place: token.size for place, token in enumerate(tokens)}
        chosen: list[int] = []
        for source in falling:
            score, target = best[source]
            if len(chosen) == limit:
                break
            if self.rules.min_similarity is not None:
                self.result.decide(score - self.rules.min_similarity)
                if score < self.rules.min_similarity:
                    break
            total = grown[target] + tokens[source].size
            if self.rules.max_cluster_size is None or total <= self.rules.max_cluster_size:
                grown[target] = total
                chosen.append(source)
        return chosen

    def apply(self, tokens: list[Token], edges: list[int], best: dict[int, tuple[float, int]], number: int) -> None:
        groups: dict[int, list[int]] = {}
        for source in edges:
            groups.setdefault(best[source][1], []).append(source)
        winner = {}
        for target, sources in groups.items():
            members = [tokens[place] for place in sorted([target, *sources])]
            size = sum(member.size for member in members)
            mean = sum(member.mean * member.size for member in members) / size
            if 0 < float(mean @ mean) < 1e-18:
                self.result.margin = 0.0  # what rounding left of opposite vectors has no direction
            tokens[target].mean, tokens[target].size = mean, size
            old = tokens[target].representative
            candidates = [member.representative for member in members]
            winner[target] = old if self.rules.survivor == "dst" else self.winner(candidates, mean)
        for source in edges:
            token = tokens[best[source][1]]
            arriving, present = tokens[source].representative, token.representative
            if arriving == winner[best[source][1]]:
                arriving, present = present, arriving
            token.representative = present
            self.result.removals.append((arriving, present, best[source][0], number))

    def winner(self, candidates: list[int], mean: np.ndarray) -> int:
        near = {row: cosine(self.unit[row], mean) for row in candidates}
        for value in near.values():
            self.result.decide((value * 1e4 + 0.5) % 1 / 1e4)
            self.result.decide((1 - (value * 1e4 + 0.5) % 1) / 1e4)
        if self.rules.survivor == "medoid":
            return min(candidates, key=lambda row: (-round(near[row], 4), -self.lengths[row], row))
        return min(candidates, key=lambda row: (-self.lengths[row], -round(near[row], 4), row))
