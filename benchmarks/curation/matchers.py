"""The matchers on the first round of a set of vectors: CPU time, and agreement with the exact matcher.

    python benchmarks/curation/matchers.py work/synthetic-53k --probes 8 32 64

`used` is the agreement among the edges that a round carries out: the best ones, as many as a quarter of the tokens.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.vectors import read_vectors
from sg.curate.matching.bounds import principal_basis
from sg.curate.matching.cells import CellMatcher, Cells
from sg.curate.matching.exact import ExactMatcher, Matches, match
from sg.curate.matching.matchers import unit_tensor
from sg.curate.matching.projected import ProjectedMatcher
from sg.curate.order import is_target_side
from sg.curate.videos import load_videos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--probes", type=int, nargs="*", default=[8, 32, 64])
    parser.add_argument("--dims", type=int, nargs="*", default=[32, 64, 96])
    options = parser.parse_args()
    videos = load_videos(read_vectors(options.vectors), None, seed=0)
    is_target = is_target_side(videos.keys, 0)
    a, b = (unit_tensor(videos.unit, np.flatnonzero(side)) for side in (~is_target, is_target))
    print(f"{len(a)} x {len(b)} rows of dim {a.shape[1]}, {torch.get_num_threads()} threads")
    print("| matcher | cpu s | same | used |\n|---|---|---|---|")
    exact = timed("exact", lambda: match(a, b, ExactMatcher(b)), None, len(videos) // 4)
    ProjectedMatcher(b[:64], principal_basis(b.numpy(), 8)).find(a[:64])  # compiles
    for dims in options.dims:
        basis = principal_basis(videos.unit, dims)
        timed(f"projected p={dims}", lambda: match(a, b, ProjectedMatcher(b, basis)), exact, len(videos) // 4)  # noqa: B023
    cells = Cells(videos.unit, 250, 0)
    centres = timed_value("training the cells", lambda: cells.centres(len(b)))
    for basis in (None, principal_basis(videos.unit, 64)):
        kind = "by products" if basis is None else "by bounds"
        for probes in options.probes:
            name = f"cells K={len(centres)}, P={probes}, {kind}"
            timed(name, lambda: match(a, b, CellMatcher(b, centres, probes, basis)), exact, len(videos) // 4)  # noqa: B023


def timed(name: str, act: Callable[[], Matches], exact: Matches | None, used: int) -> Matches:
    started = time.process_time()
    found = act()
    seconds = time.process_time() - started
    same = np.ones(len(found.target), bool) if exact is None else found.target == exact.target
    score = (exact or found).score
    print(
        f"| {name} | {seconds:.1f} | {same.mean():.5f} | {same[score >= np.sort(score)[-used]].mean():.5f} |",
        flush=True,
    )
    return found


def timed_value(name: str, act: Callable[[], np.ndarray]) -> np.ndarray:
    started = time.process_time()
    value = act()
    print(f"| {name} | {time.process_time() - started:.1f} | | |", flush=True)
    return value


if __name__ == "__main__":
    main()
