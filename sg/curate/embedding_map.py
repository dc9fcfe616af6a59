"""A map of the embedding space for the report: videos on the first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.forest import Forest
from sg.curate.order import video_keys

POINTS = 4000


def embedding_map(forest: Forest, unit: NDArray[np.floating], sizes: Sequence[int], seed: int) -> dict[str, Any]:
    """`points`: [x, y, smallest of `sizes` whose core holds the video, 0 for none] of up to `POINTS` videos.

    Args:
        forest: the merge forest.
        unit: [N, d] unit vectors of its rows.
        sizes: core sizes.
        seed: keys the hash that draws the videos.
    """
    order = np.argsort(video_keys(forest.video_ids, seed))
    rows = np.sort(order[:: max(1, -(-len(order) // POINTS))])
    sample = unit[rows].astype(np.float64)
    centred = sample - sample.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    total = values.sum()
    axes = axes[:, ::-1][:, :2]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1, 1)  # eigenvectors have no sign
    places = centred @ axes
    share = 100 * values[::-1][:2].sum() / total if total > 0 else 0.0
    alive_at = len(forest) - rows
    cores = [next((size for size in sorted(sizes) if size >= need), 0) for need in alive_at.tolist()]
    points = [[round(float(x), 4), round(float(y), 4), core] for (x, y), core in zip(places, cores, strict=True)]
    return {
        "note": f"two principal components of {len(rows):,} videos, {share:.0f} % of the variance",
        "points": points,
    }
