"""Spherical k-means on unit vectors, in blocks.

Sums are taken in a fixed order, so the result does not depend on the number of threads. torch is imported inside the
functions, because the curators import this module when the config store is filled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Rows = NDArray[np.int64]
_ROWS_AT_ONCE = 4096
_SUM_ROWS_AT_ONCE = 16_384


def spherical_kmeans(
    unit: NDArray[np.floating], clusters: int, *, seed: int, steps: int, sample: int | None = None
) -> NDArray[np.floating]:
    """[clusters, d] unit centres of `unit` [n, d], after `steps` Lloyd steps on at most `sample` rows.

    The initial centres are a seeded draw of rows; a centre without rows keeps its place. There are at most n clusters.
    """
    generator = np.random.default_rng(seed)
    rows = np.arange(len(unit))
    if sample is not None and len(rows) > sample:
        rows = np.sort(generator.choice(len(unit), size=max(sample, clusters), replace=False))
    points = unit[rows] if len(rows) < len(unit) else unit
    clusters = min(clusters, len(points))
    centres = points[np.sort(generator.choice(len(points), size=clusters, replace=False))].copy()
    for _ in range(steps):
        nearest, _ = nearest_centres(points, centres)
        centres = _mean_directions(points, nearest, centres)
    return centres


def nearest_centres(
    unit: NDArray[np.floating], centres: NDArray[np.floating], device: torch.device | None = None
) -> tuple[Rows, NDArray[np.floating]]:
    """[n] nearest centre of each row of `unit` [n, d] among `centres` [k, d], and [n] the cosine with it."""
    import torch

    from sg.curate.matching.exact import full_precision

    table = torch.from_numpy(centres).to(device or "cpu")
    nearest, cosine = np.empty(len(unit), np.int64), np.empty(len(unit), unit.dtype)
    with full_precision():
        for start in range(0, len(unit), _ROWS_AT_ONCE):
            block = torch.from_numpy(unit[start : start + _ROWS_AT_ONCE]).to(table.device)
            best, where = (block @ table.T).max(dim=1)
            nearest[start : start + len(block)] = where.cpu().numpy()
            cosine[start : start + len(block)] = best.cpu().numpy()
    return nearest, cosine


def nearest_several(block: Tensor, centres: Tensor, count: int) -> Tensor:
    """[n, count] the nearest centres of each row of `block` [n, d], the nearest first."""
    import torch

    count = min(count, len(centres))
    parts = (block[start : start + _ROWS_AT_ONCE] for start in range(0, len(block), _ROWS_AT_ONCE))
    return torch.cat([(part @ centres.T).topk(count, dim=1).indices for part in parts])


def grouped_rows(group: Rows, groups: int) -> tuple[Rows, Rows]:
    """Rows sorted by group (then by row), and [groups + 1] the position where each group begins."""
    order = np.argsort(group, kind="stable")
    return order, np.searchsorted(group[order], np.arange(groups + 1))


def rank_in_group(group: Rows, key: NDArray[np.floating]) -> Rows:
    """[n] rank of each row in its group by rising `key`, from 0."""
    order = np.lexsort((np.arange(len(group)), key, group))
    ordered = group[order]
    starts = np.flatnonzero(np.r_[True, np.diff(ordered) > 0])
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
    return rank


def _mean_directions(
    points: NDArray[np.floating], nearest: Rows, centres: NDArray[np.floating]
) -> NDArray[np.floating]:
    """[k, d] directions of the mean of each centre's rows; the old centre if there are no rows or they cancel out."""
    order, borders = grouped_rows(nearest, len(centres))
    sums = np.zeros(centres.shape, np.float64)
    for start in range(0, len(order), _SUM_ROWS_AT_ONCE):
        part = order[start : start + _SUM_ROWS_AT_ONCE]
        label = nearest[part]
        first = np.flatnonzero(np.r_[True, label[1:] != label[:-1]])
        sums[label[first]] += np.add.reduceat(points[part].astype(np.float64), first, axis=0)
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    directions = sums / np.where(lengths > 0, lengths, 1.0)
    return np.where((lengths > 0) & (np.diff(borders) > 0)[:, None], directions, centres).astype(centres.dtype)
