"""Every curator on the same vectors: time, memory, and what each core keeps.

    python benchmarks/curation/synthetic_vectors.py --count 53000 --out work/synthetic-53k
    python benchmarks/curation/compare_curators.py work/synthetic-53k --out work/curators-53k

`families` is the share of the near-duplicate families that a core of that size could hold at most, `topics` the same
for topics (both need the `truth.npz` of the synthetic set); `mean` and `p1` are cosines of all videos to the core;
`dup` is the share of core members with a near-duplicate in the core. Each curator runs in a process of its own.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

RUNGS = (400, 200, 100, 50)
NAMES = {
    "random": "RandomConfig()",
    "tome f=1/4": "TomeConfig(matcher='projected')",
    "tome f=1/8": "TomeConfig(matcher='projected', max_merge_fraction=0.125)",
    "tome f=1/4, metric survivor": "TomeConfig(matcher='projected', metric='survivor')",
    "tome_literal": "TomeConfig(order='reference', collapse_exact=False, max_merge_fraction=0.5, "
    "rungs=[400.0, 200.0, 100.0, 50.0], survivor='dst')",
    "kmeans": "KMeansConfig()",
    "semdedup": "SemDedupConfig()",
    "ssl_prototypes": "PrototypesConfig()",
    "d4": "D4Config()",
    "dbp": "DbpConfig()",
    "hierarchical_kmeans": "HierarchicalKMeansConfig()",
}
RUN = """
import json, resource, sys, time
from pathlib import Path
from sg.curate.baselines.config import *
from sg.curate.config import TomeConfig
from sg.curate.pipeline import curate
started, cpu = time.monotonic(), time.process_time()
curate({config}, Path({vectors!r}), None, Path({out!r}))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([time.monotonic() - started, time.process_time() - cpu, peak]))
"""


def run_curator(config: str, vectors: Path, out: Path) -> list[float]:
    """[wall seconds, CPU seconds, peak GiB] of a curation in its own process; kept in `out` for a repeated call."""
    kept = out / "cost.json"
    if not kept.is_file():
        script = RUN.format(config=config, vectors=str(vectors), out=str(out))
        done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
        kept.write_text(done.stdout.splitlines()[-1])
    cost: list[float] = json.loads(kept.read_text())
    return cost


def measure(vectors: Path, out: Path) -> list[dict[str, Any]]:
    """Numbers of the cores of the forest in `out`, smallest first."""
    from sg.artefacts.forest import read_forest
    from sg.artefacts.vectors import read_vectors
    from sg.curate.changes import unit_of_forest
    from sg.curate.statistics import StatisticsSettings, core_statistics

    forest, stored = read_forest(out / "forest.parquet"), read_vectors(vectors)
    truth = dict(np.load(vectors / "truth.npz")) if (vectors / "truth.npz").is_file() else {}
    sizes = [round(len(forest) * rung / 530) for rung in RUNGS]
    unit = unit_of_forest(forest, stored)
    cores: list[dict[str, Any]] = []
    for name in ("family", "topic"):
        labels = dict(zip(stored.video_ids, truth[name].tolist(), strict=True)) if truth else None
        result = core_statistics(forest, unit, sizes, StatisticsSettings(sample=4096), families=labels)
        cores = cores or result["cores"]
        for core, other in zip(cores, result["cores"], strict=True):
            core[name] = None if labels is None else other["families"] / min(core["size"], result["families"])
    return cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=list(NAMES))
    options = parser.parse_args()
    print("| curator | wall s | cpu s | peak GiB | core | families | topics | mean | p1 | dup |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in options.only:
        out = options.out / name.replace("/", "-").replace(" ", "_")
        wall, cpu, peak = run_curator(NAMES[name], options.vectors, out)
        for core in reversed(measure(options.vectors, out)):
            shares = " | ".join("-" if core[key] is None else f"{core[key]:.3f}" for key in ("family", "topic"))
            coverage = f"{core['coverage']['mean']:.3f} | {core['coverage']['p1']:.3f}"
            cost = f"{wall:.0f} | {cpu:.0f} | {peak:.1f}"
            print(
                f"| {name} | {cost} | {core['size']} | {shares} | {coverage} | {core['duplicates']:.3f} |", flush=True
            )


if __name__ == "__main__":
    main()
