"""How much a forest depends on precision, blocks, threads, file order and matcher, none of which should matter.

    python benchmarks/curation/synthetic_vectors.py --count 53000 --out work/synthetic-53k
    python benchmarks/curation/robustness.py work/synthetic-53k
    python benchmarks/curation/robustness.py work/synthetic-53k --only cells

`core` is the lowest share of videos that the cores of 40 sizes, from all down to a hundredth, have in common with those
of the default settings (float32, exact, one thread); `ARI` the lowest adjusted Rand index of the clusters at five of
these sizes; `tenfold` the shared part of the core of a tenth; `used` the lowest share of a round's merges that a check
against the exact match confirmed (every round of `cells` and `faiss` is matched that way down to 5,000 tokens).
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.forest import Forest
from sg.artefacts.vectors import Vectors, read_vectors
from sg.curate.removals import forest_of
from sg.curate.tome.merge import RoundRecord, merge_videos
from sg.curate.tome.settings import TomeConfig
from sg.curate.videos import load_videos

FORCED = {"exact_below": 5000, "rows_per_cell": 100}


@dataclass(frozen=True)
class Variation:
    """Settings that should not change the result, or hardly."""

    settings: dict[str, Any]
    threads: int = 1
    turned: bool = False


VARIATIONS = {
    "again": Variation({}),
    "two threads": Variation({}, threads=2),
    "blocks of 1000 x 3000": Variation({"block_rows": 1000, "block_columns": 3000}),
    "files in another order": Variation({}, turned=True),
    "float64": Variation({"dtype": "float64"}),
    "projected": Variation({"matcher": "projected"}),
    "projected, two threads": Variation({"matcher": "projected", "projected_dims": 32}, threads=2),
    "cells": Variation({"matcher": "cells", **FORCED}),
}


def curated(vectors: Vectors, variation: Variation) -> tuple[Forest, list[RoundRecord]]:
    config = TomeConfig(device="cpu", **variation.settings)
    if variation.turned:
        order = np.random.default_rng(5).permutation(len(vectors.video_ids))
        vectors = Vectors([vectors.video_ids[row] for row in order], vectors.matrix[order], vectors.info)
    before = torch.get_num_threads()
    torch.set_num_threads(variation.threads)
    try:
        videos = load_videos(vectors, None, seed=config.seed, dtype=config.dtype)  # type: ignore[arg-type]
        removals, rounds = merge_videos(videos, config)
        return forest_of(videos.ids, videos.unit, removals, {}), rounds
    finally:
        torch.set_num_threads(before)


def core_overlap(first: Forest, second: Forest, size: int) -> float:
    return len(set(first.core(size)) & set(second.core(size))) / size


def rand_index(first: Forest, second: Forest, size: int) -> float:
    """Adjusted Rand index of the clusters at a core size."""
    row_of = {video_id: row for row, video_id in enumerate(second.video_ids)}
    a = first.assignment(size)
    b = second.assignment(size)[[row_of[video_id] for video_id in first.video_ids]]
    pairs = [pair_count(labels) for labels in (a * len(a) + b, a, b)]
    expected = pairs[1] * pairs[2] / (len(a) * (len(a) - 1) / 2)
    highest = (pairs[1] + pairs[2]) / 2
    return 1.0 if highest == expected else (pairs[0] - expected) / (highest - expected)


def pair_count(labels: np.ndarray) -> float:
    counts = np.unique(labels, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())


def compare(vectors: Vectors, names: list[str]) -> list[list[str]]:
    """Print one row of the table per variation."""
    default, _ = curated(vectors, Variation({}))
    sizes = np.unique(np.geomspace(max(1, len(default) // 100), len(default), 40).astype(int)).tolist()
    rows = []
    for name in names:
        started = time.process_time()
        forest, rounds = curated(vectors, VARIATIONS[name])
        seconds = time.process_time() - started
        lowest = min(core_overlap(default, forest, size) for size in sizes)
        index = min(rand_index(default, forest, size) for size in sizes[::8])
        tenth = core_overlap(default, forest, max(1, len(default) // 10))
        used = [record.agreement for record in rounds if record.agreement is not None]
        same = "yes" if forest.content_hash == default.content_hash else "no"
        checked = f"{min(used):.5f}" if used else "-"
        rows.append([name, f"{lowest:.5f}", f"{index:.6f}", f"{tenth:.5f}", same, checked, f"{seconds:.0f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--only", nargs="*", choices=VARIATIONS, default=list(VARIATIONS))
    options = parser.parse_args()
    vectors = read_vectors(options.vectors)
    print(f"{len(vectors.video_ids)} x {vectors.dim} vectors")
    print("| variation | core | ARI | tenfold | same forest | used | cpu s |\n|---|---|---|---|---|---|---|")
    for row in compare(vectors, options.only):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
