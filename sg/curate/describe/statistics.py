"""Statistics of the cores of a forest, which the report reads from `statistics.json`.

Coverage is the cosine of a video to the core; diversity is the share of core members without a near-duplicate in it,
and the number of near-duplicate families it holds. Each number is also computed for a random draw of equal size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.artefacts.forest import COLLAPSE_ROUND, Forest
from sg.core.identity import NOT_IDENTITY
from sg.curate.describe.embedding_map import embedding_map
from sg.curate.matching.exact import full_precision
from sg.curate.matching.matchers import choose_device
from sg.curate.order import video_keys

Rows = NDArray[np.int64]
STATISTICS_FILE = "statistics.json"
_ROWS_AT_ONCE, _COLUMNS_AT_ONCE = 4096, 16_384
_CURVE_POINTS = 400
_BINS_PER_UNIT = 50


@dataclass(frozen=True, slots=True)
class StatisticsSettings:
    """How the statistics are computed.

    Attributes:
        sample: if there are more videos than this, a sample of this size represents them (evenly spaced in hashed
            order).
        near_duplicate: cosine above which two videos count as near-duplicates.
        listed: length of lists.
        map_points: number of videos on the map.
        seed: of the random draw and the sample.
        device: `auto`, cpu or cuda.
    """

    sample: int = 4096
    near_duplicate: float = 0.95
    listed: int = 12
    map_points: int = 5000
    seed: int = 0
    device: str = field(default="auto", metadata=NOT_IDENTITY)


def core_statistics(
    forest: Forest,
    unit: NDArray[np.floating],
    sizes: Sequence[int],
    settings: StatisticsSettings,
    *,
    families: Mapping[str, Any] | None = None,
    sources: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Numbers about the cores of the given sizes, as plain data.

    Args:
        forest: the merge forest.
        unit: [N, d] unit vectors of its rows.
        sizes: core sizes.
        settings: sample, threshold, seed of the random draw.
        families: video id -> family of near-duplicates, if the truth is known.
        sources: video id -> source, for the shares of the sources.
    """
    sizes = sorted({size for size in sizes if 0 < size <= len(forest)})
    keys = video_keys(forest.video_ids, settings.seed)
    by_key = np.argsort(keys)
    sample = by_key[:: max(1, len(forest) // settings.sample)]
    last_removed_first = np.arange(len(forest))[::-1]
    on_map = by_key[:: max(1, -(-len(forest) // settings.map_points))]
    meter = _CoreMeter(unit, sample, settings)
    curated, drawn = meter.cores(last_removed_first, sizes), meter.cores(by_key, sizes)
    labels = None if families is None else [families.get(video_id) for video_id in forest.video_ids]
    cores = []
    for position, size in enumerate(sizes):
        core = {"size": size} | curated[position] | _cluster_numbers(forest, unit, size, sample, settings)
        core |= {"families": _distinct(labels, last_removed_first[:size]), "sources": _mix(forest, sources, size)}
        random = drawn[position] | {"families": _distinct(labels, by_key[:size])}
        cores.append(core | {"random": random})
    return {
        "videos": len(forest),
        "sample": len(sample),
        "near_duplicate": settings.near_duplicate,
        "exact_duplicates": int((forest.round == COLLAPSE_ROUND).sum()),
        "families": None if labels is None else len(set(labels)),
        "removal_curve": removal_curve(forest),
        "merge_similarity": _shares_of(forest.similarity[~np.isnan(forest.similarity)]),
        "map": embedding_map(forest, unit, on_map),
        "cores": cores,
    }


class _CoreMeter:
    """Measures nested cores against the same sample of videos."""

    def __init__(self, unit: NDArray[np.floating], sample: Rows, settings: StatisticsSettings) -> None:
        self._unit, self._sample, self._settings = unit, sample, settings
        self._device = choose_device(settings.device)

    def cores(self, order: Rows, sizes: Sequence[int]) -> list[dict[str, Any]]:
        """Coverage and duplicates of the first n rows of `order`, for each n of the rising `sizes`."""
        best = np.full(len(self._sample), -np.inf)
        results, done = [], 0
        for size in sizes:
            best = np.maximum(best, self._highest(self._sample, order[done:size]))
            members = order[:size][:: max(1, size // self._settings.sample)]
            closest = self._highest(members, order[:size], without_self=True)
            share = float((closest > self._settings.near_duplicate).mean())
            results.append(
                {"coverage": _quantiles(best), "coverage_histogram": _shares_of(best), "duplicates": round(share, 6)}
            )
            done = size
        return results

    def _highest(self, rows: Rows, others: Rows, without_self: bool = False) -> NDArray[np.float64]:
        """[n] highest cosine of each of `rows` to one of `others`; -inf if there is none."""
        result = torch.full((len(rows),), -torch.inf, device=self._device)
        with full_precision():
            for start in range(0, len(others), _COLUMNS_AT_ONCE):
                columns = others[start : start + _COLUMNS_AT_ONCE]
                table = self._tensor(columns)
                for first in range(0, len(rows), _ROWS_AT_ONCE):
                    part = rows[first : first + _ROWS_AT_ONCE]
                    scores = self._tensor(part) @ table.T
                    if without_self:
                        scores[torch.from_numpy(part[:, None] == columns).to(self._device)] = -torch.inf
                    piece = result[first : first + len(part)]
                    torch.maximum(piece, scores.amax(dim=1), out=piece)
        return result.cpu().numpy().astype(np.float64)

    def _tensor(self, rows: Rows) -> Tensor:
        return torch.from_numpy(self._unit[rows]).float().to(self._device)


def removal_curve(forest: Forest) -> list[list[float]]:
    """[number of remaining videos, similarity of the merge] for a few hundred merges, from the first to the last."""
    merged = np.flatnonzero(~np.isnan(forest.similarity))
    rows = merged[np.unique(np.linspace(0, len(merged) - 1, _CURVE_POINTS).astype(int))] if len(merged) else merged
    return [[len(forest) - row - 1, round(float(forest.similarity[row]), 6)] for row in rows.tolist()]


def _cluster_numbers(
    forest: Forest, unit: NDArray[np.floating], size: int, sample: Rows, settings: StatisticsSettings
) -> dict[str, Any]:
    """Sizes of the clusters, the cut, cosines to the survivors, and the clusters with the least similar videos."""
    owner = forest.assignment(size)
    counts = np.bincount(owner[owner >= 0], minlength=len(forest))[len(forest) - size :]
    assigned = sample[owner[sample] >= 0]
    own = np.einsum("nd,nd->n", unit[assigned], unit[owner[assigned]], dtype=np.float64)
    cut = forest.cut_similarity(size)
    return {
        "cut_similarity": None if cut is None else round(cut, 6),
        "survivor_similarity": _quantiles(own) if _has_clusters(forest) else None,
        "clusters": {
            "assigned": int((owner >= 0).sum()),
            "singletons": int((counts == 1).sum()),
            "largest": int(counts.max()),
            "largest_share": round(float(counts.max() / len(forest)), 6),
            "quantiles": {f"p{q}": float(np.quantile(counts, q / 100)) for q in (50, 90, 99)},
            "histogram": _histogram(counts),
        },
        "least_alike": _least_alike(forest, unit, owner, settings.listed),
        "at_the_cut": _merges(forest, range(len(forest) - size - 1, -1, -1), settings.listed),
        "beyond_the_cut": _merges(forest, range(len(forest) - size, len(forest)), settings.listed),
    }


def _has_clusters(forest: Forest) -> bool:
    return bool((forest.parent >= 0).any())


def _least_alike(forest: Forest, unit: NDArray[np.floating], owner: Rows, listed: int) -> list[dict[str, Any]]:
    """The clusters with the lowest cosine between a member and the survivor, the lowest first."""
    rows = np.flatnonzero((owner >= 0) & (owner != np.arange(len(owner))))
    cosine = np.empty(len(rows))
    for start in range(0, len(rows), _COLUMNS_AT_ONCE):
        part = rows[start : start + _COLUMNS_AT_ONCE]
        cosine[start : start + len(part)] = np.einsum("nd,nd->n", unit[part], unit[owner[part]], dtype=np.float64)
    order = np.lexsort((rows, cosine))
    _, first = np.unique(owner[rows[order]], return_index=True)
    worst = order[np.sort(first)[:listed]]
    sizes = np.bincount(owner[owner >= 0], minlength=len(owner))
    return [
        {
            "survivor": forest.video_ids[owner[rows[entry]]],
            "size": int(sizes[owner[rows[entry]]]),
            "video_id": forest.video_ids[rows[entry]],
            "similarity": round(float(cosine[entry]), 6),
        }
        for entry in worst.tolist()
    ]


def _merges(forest: Forest, rows: range, listed: int) -> list[dict[str, Any]]:
    """The merges of the first of `rows`. Merges before a cut were carried out; for those after it, both videos stay."""
    return [
        {
            "video_id": forest.video_ids[row],
            "merged_into": forest.video_ids[forest.parent[row]],
            "similarity": round(float(forest.similarity[row]), 6),
        }
        for row in rows[:listed]
        if forest.parent[row] >= 0 and not np.isnan(forest.similarity[row])
    ]


def _histogram(counts: Rows) -> list[list[int]]:
    """[smallest size, number of clusters] of bins 1, 2-3, 4-7, ... up to the largest cluster."""
    bins = np.log2(np.maximum(counts, 1)).astype(int)
    return [[2**power, int(number)] for power, number in enumerate(np.bincount(bins).tolist())]


def _shares_of(cosine: NDArray[np.floating]) -> list[list[float]]:
    """[lower end of a bin of width 0.02, share of the values] for the bins from the lowest value up to 1."""
    if not len(cosine):
        return []
    bins = np.clip(np.floor(np.asarray(cosine, np.float64) * _BINS_PER_UNIT), -_BINS_PER_UNIT, _BINS_PER_UNIT - 1)
    first = int(bins.min())
    counts = np.bincount(bins.astype(int) - first, minlength=_BINS_PER_UNIT - first)
    return [[(first + bar) / _BINS_PER_UNIT, round(n / len(cosine), 6)] for bar, n in enumerate(counts.tolist())]


def _quantiles(cosine: NDArray[np.float64]) -> dict[str, float]:
    values = {"mean": cosine.mean(), "p10": np.quantile(cosine, 0.10), "p1": np.quantile(cosine, 0.01)}
    return {name: round(float(value), 6) for name, value in values.items()}


def _distinct(labels: Sequence[Any] | None, rows: Rows) -> int | None:
    return None if labels is None else len({labels[row] for row in rows.tolist()})


def _mix(forest: Forest, sources: Mapping[str, str] | None, size: int) -> dict[str, float] | None:
    """Share of each source in the core."""
    if sources is None:
        return None
    names = [sources.get(video_id, "unknown") for video_id in forest.core(size)]
    return {name: round(names.count(name) / size, 6) for name in sorted(set(names))}
