"""Videos of the corpus that are near-duplicates of a benchmark's videos."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sg.artefacts.forest import Forest
from sg.artefacts.vectors import Vectors
from sg.core.errors import DataError
from sg.curate.describe.statistics import StatisticsSettings
from sg.curate.matching.exact import ExactMatcher, match
from sg.curate.matching.matchers import choose_device
from sg.curate.videos import unit_rows


def contamination(
    forest: Forest, unit: NDArray[np.floating], benchmark: Vectors, sizes: Sequence[int], settings: StatisticsSettings
) -> dict[str, Any]:
    """The number of benchmark videos with a near-duplicate in each core, and the closest pairs, as plain data.

    `unit` are [N, d] unit vectors of the rows of the forest. `gone_below` of a pair is the largest size whose core does
    not contain the corpus video.

    Raises:
        DataError: the two sets of vectors have different dims.
    """
    if benchmark.dim != unit.shape[1]:
        raise DataError(
            f"The benchmark's vectors have dim {benchmark.dim}, the corpus {unit.shape[1]}: embed both alike."
        )
    own = unit_rows(benchmark.matrix)
    corpus = torch.from_numpy(unit).to(choose_device(settings.device))
    found = match(torch.from_numpy(own), corpus, ExactMatcher(corpus))
    pairs = [
        {
            "benchmark_id": benchmark.video_ids[row],
            "video_id": forest.video_ids[found.target[row]],
            "similarity": round(float(found.score[row]), 6),
            "gone_below": len(forest) - int(found.target[row]) - 1,
        }
        for row in np.argsort(-found.score, kind="stable")[: settings.listed].tolist()
    ]
    counts = {}
    for size in sizes:
        core = torch.from_numpy(unit[len(forest) - size :]).to(corpus.device)
        score = match(torch.from_numpy(own), core, ExactMatcher(core)).score
        counts[str(size)] = int((score > settings.near_duplicate).sum())
    return {"benchmark_videos": len(own), "near_duplicate": settings.near_duplicate, "cores": counts, "closest": pairs}
