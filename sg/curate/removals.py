"""The order in which videos are removed, and the merge forest made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.forest import NO_ROUND, Forest, subtree_sizes
from sg.curate.threads import in_stripes


@dataclass(frozen=True, slots=True, eq=False)
class Removals:
    """Videos (rows of `Videos`) in the order in which they are removed.

    Attributes:
        video: [r] the removed video.
        into: [r] the video that it is merged into; -1 if it is not merged.
        similarity: [r] the similarity that decided the merge; NaN if there was none.
        round: [r] the round; `NO_ROUND` if there was none.
    """

    video: NDArray[np.int64]
    into: NDArray[np.int64]
    similarity: NDArray[np.float64]
    round: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.video)

    @staticmethod
    def none() -> Removals:
        """No removals."""
        empty = np.empty(0, np.int64)
        return Removals(empty, empty, np.empty(0), empty)

    @staticmethod
    def plain(video: NDArray[np.int64]) -> Removals:
        """Removals without merges: nothing but an order."""
        count = len(video)
        return Removals(video, np.full(count, -1), np.full(count, np.nan), np.full(count, NO_ROUND))

    @staticmethod
    def join(parts: Sequence[Removals]) -> Removals:
        """The removals of `parts`, one after another."""
        parts = [Removals.none(), *parts]
        return Removals(
            np.concatenate([part.video for part in parts]),
            np.concatenate([part.into for part in parts]),
            np.concatenate([part.similarity for part in parts]),
            np.concatenate([part.round for part in parts]),
        )


def forest_of(ids: Sequence[str], unit: NDArray[np.floating], removals: Removals, info: dict[str, Any]) -> Forest:
    """The merge forest of `removals`, which contain every row of `ids` and `unit` [N, d] once."""
    merged = removals.into >= 0
    rep_similarity = np.full(len(removals), np.nan)
    rep_similarity[merged] = row_cosines(unit, removals.video[merged], removals.into[merged])
    return assemble_forest(ids, removals, rep_similarity, info)


def assemble_forest(
    ids: Sequence[str], removals: Removals, rep_similarity: NDArray[np.float64], info: dict[str, Any]
) -> Forest:
    """The merge forest of `removals`; `rep_similarity` [N] is each video's cosine with the one it is merged into."""
    place = np.empty(len(ids), np.int64)
    place[removals.video] = np.arange(len(ids))
    merged = removals.into >= 0
    parent = np.full(len(ids), -1)
    parent[merged] = place[removals.into[merged]]
    return Forest(
        video_ids=[ids[row] for row in removals.video.tolist()],
        parent=parent,
        similarity=removals.similarity.astype(np.float32),
        round=removals.round.astype(np.int32),
        size=subtree_sizes(parent),
        rep_similarity=rep_similarity.astype(np.float32),
        info=info,
    )


def row_cosines(unit: NDArray[np.floating], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """[r] float64 products of the rows `first` with the rows `second` of `unit`."""
    result = np.empty(len(first))

    def compute(part: slice) -> None:
        result[part] = np.einsum("nd,nd->n", unit[first[part]], unit[second[part]], dtype=np.float64)

    in_stripes(compute, len(first))
    return result
