"""A map of the embedding space: two principal components of a sample of the videos, with the cores they belong to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.forest import Forest

_ROWS_AT_ONCE = 4096


def embedding_map(forest: Forest, unit: NDArray[np.floating], sample: NDArray[np.int64]) -> dict[str, Any]:
    """`points` [x, y, size of the smallest core that contains the video] for the rows `sample`, and a `note`.

    `unit` are [N, d] unit vectors of the rows of the forest. The components are computed once from the sample, so that
    all cores share one map; their sign makes the largest weight positive.
    """
    place, explained = principal_plane(unit[sample])
    smallest = len(forest) - sample  # a row is in the core of size n when its rank from the end is at most n
    points = [[round(x, 4), round(y, 4), core] for (x, y), core in zip(place.tolist(), smallest.tolist(), strict=True)]
    first, second = (round(100 * share) for share in explained)
    note = f"two principal components, {first} % and {second} % of the variance"
    return {"method": "pca", "explained": [round(share, 6) for share in explained], "note": note, "points": points}


def principal_plane(rows: NDArray[np.floating]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """[n, 2] coordinates of `rows` [n, d] along their first two principal components, and the share each explains.

    With fewer than two dimensions or rows, the undefined coordinates are zero.
    """
    centre = rows.mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(rows.shape[1])
    scatter = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE] - centre
        scatter += block.T @ block
    values, vectors = np.linalg.eigh(scatter)
    basis, kept = vectors[:, ::-1][:, :2], np.maximum(values[::-1][:2], 0.0)
    basis = basis * np.where(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])] < 0, -1.0, 1.0)
    place = np.zeros((len(rows), 2))
    place[:, : basis.shape[1]] = (rows - centre) @ basis
    shares = np.zeros(2)
    shares[: len(kept)] = kept / max(float(np.trace(scatter)), 1e-300)
    return place, (float(shares[0]), float(shares[1]))
