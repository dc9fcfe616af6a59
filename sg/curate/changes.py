"""Changes to a merge forest without a new run: adding new videos, and removing videos that must be deleted."""

import dataclasses
from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray

from sg.artefacts.forest import NO_ROUND, Forest, subtree_sizes
from sg.artefacts.forgetting import without_videos
from sg.artefacts.vectors import Vectors
from sg.core.errors import ConfigError, DataError
from sg.curate.matching.exact import ExactMatcher, match
from sg.curate.matching.matchers import choose_device
from sg.curate.videos import unit_rows

Rows = NDArray[np.int64]


def unit_of_forest(forest: Forest, vectors: Vectors) -> NDArray[np.floating]:
    """[N, d] unit vectors of the rows of `forest`; DataError if a video has no vector."""
    row_of = {video_id: row for row, video_id in enumerate(vectors.video_ids)}
    lacking = [video_id for video_id in forest.video_ids if video_id not in row_of]
    if lacking:
        raise DataError(
            f"{len(lacking)} videos of the merge forest have no vector ({', '.join(map(repr, lacking[:3]))}): "
            "remove them with forget=[...], or curate again."
        )
    return unit_rows(vectors.matrix[[row_of[video_id] for video_id in forest.video_ids]], in_place=True)


def extend_forest(forest: Forest, vectors: Vectors, size: int, device: str = "auto") -> Forest:
    """`forest` with the videos of `vectors` that it lacks, matched to the core of `size` videos.

    If the similarity of a new video to its best match in the core is at least that of the last merge above `size`, it
    is removed before all other videos. The remaining new videos join the core: they are removed right before the old
    core, the most similar first. So no old core of at most `size` videos changes, and a larger one only gains members.

    New videos are not compared with each other: curate again before you publish a list.

    Raises:
        DataError: a video of the forest has no vector.
        ConfigError: there is no new video, or no merge led to a core of that size.
    """
    known = set(forest.video_ids)
    fresh = [row for row, video_id in enumerate(vectors.video_ids) if video_id not in known]
    cut = forest.cut_similarity(size)
    if not fresh:
        raise ConfigError("There is no video to extend the merge forest with: every vector belongs to one of its rows.")
    if cut is None or not size > 0:
        raise ConfigError(
            f"The core of {size} videos was not cut at a similarity: extend at a size that was reached by merges."
        )
    core = unit_of_forest(forest, vectors)[len(forest) - size :]
    unit = unit_rows(vectors.matrix[fresh], in_place=True)
    targets = torch.from_numpy(core).to(choose_device(device))
    found = match(torch.from_numpy(unit), targets, ExactMatcher(targets))
    falling = np.argsort(-found.score, kind="stable")
    redundant, joined = falling[found.score[falling] >= cut], falling[found.score[falling] < cut]
    return _with_rows(
        forest, [vectors.video_ids[row] for row in fresh], found.target, found.score, redundant, joined, size
    )


def _with_rows(
    forest: Forest, ids: list[str], target: Rows, score: NDArray[np.float64], redundant: Rows, joined: Rows, size: int
) -> Forest:
    """The new videos `redundant` first, then the old ones, with the new videos `joined` before the core of `size`."""
    border = len(forest) - size
    moved = np.arange(len(forest)) + len(redundant) + np.where(np.arange(len(forest)) >= border, len(joined), 0)
    parent = np.where(forest.parent >= 0, moved[forest.parent], -1)
    core_rows = moved[border + target]

    def place(old: NDArray[np.generic], new: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.concatenate([new[redundant], old[:border], new[joined], old[border:]])

    similarity = score.astype(np.float32)
    old_ids, new_ids = np.array(forest.video_ids, dtype=object), np.array(ids, dtype=object)
    merged = place(parent, core_rows).astype(np.int64)
    return Forest(
        video_ids=place(old_ids, new_ids).tolist(),
        parent=merged,
        similarity=place(forest.similarity, similarity).astype(np.float32),
        round=place(forest.round, np.full(len(ids), NO_ROUND)).astype(np.int32),
        size=subtree_sizes(merged),
        rep_similarity=place(forest.rep_similarity, similarity).astype(np.float32),
        info=dict(forest.info),
    )


def forget_videos(forest: Forest, video_ids: Collection[str], vectors: Vectors | None = None) -> Forest:
    """`forest` without the given videos; the others keep their order, and except near deleted ones their clusters.

    The child of a deleted video that was removed last takes its place in the order, and its merge; the other children
    are merged into that child. Their `rep_similarity` is computed from `vectors`, and is null without them.

    Raises:
        ConfigError: a video is not in the forest.
    """
    known = set(forest.video_ids)
    unknown = [video_id for video_id in video_ids if video_id not in known]
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is not a video of the merge forest: nothing was changed.")
    result = without_videos(forest, video_ids)
    return result if vectors is None else _with_rep_similarity(result, vectors)


def _with_rep_similarity(forest: Forest, vectors: Vectors) -> Forest:
    """Compute the similarities of rows that have a new parent."""
    rows = np.flatnonzero((forest.parent >= 0) & np.isnan(forest.rep_similarity))
    row_of = {video_id: row for row, video_id in enumerate(vectors.video_ids)}
    ids = forest.video_ids
    own = unit_rows(vectors.matrix[[row_of[ids[row]] for row in rows.tolist()]])
    others = unit_rows(vectors.matrix[[row_of[ids[row]] for row in forest.parent[rows].tolist()]])
    filled = forest.rep_similarity.copy()
    filled[rows] = np.einsum("nd,nd->n", own, others, dtype=np.float64)
    return dataclasses.replace(forest, rep_similarity=filled)
