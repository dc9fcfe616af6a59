"""ToMe and its alternatives on the same vectors: time, memory, and what each core keeps.

    python benchmarks/curation/synthetic_vectors.py --count 530000 --out work/synthetic-530k
    python benchmarks/curation/alternatives.py work/synthetic-530k --out work/alternatives-530k
    python benchmarks/curation/alternatives.py work/synthetic-530k --out work/alternatives-530k --only kmeans semdedup

`families` is the number of near-duplicate families in the core, divided by the largest number that a core of that size
could hold, `topics` the same for topics (both need the `truth.npz` of the synthetic set); `mean` and `p1` are the mean
and first percentile of the cosines of all videos to the core;
`dup` is the share of core members with a near-duplicate in the core. Each method runs in a process of its own.
Finished methods are kept in OUT and not repeated; `OUT/table.csv` and `OUT/table.md` hold all of them, in this order.
`kmeans` clusters in two levels (about sqrt(k) cells, then shares of k in each), 10 Lloyd steps: a flat one with 400,000
centres would take 100 times the products.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.core.files import atomic_path, write_json, write_text

RUNGS = (400, 200, 100, 50)
LITERAL = (
    "TomeConfig(matcher='projected', order='reference', collapse_exact=False, max_merge_fraction=0.5, "
    "rungs=[400.0, 200.0, 100.0, 50.0], survivor='dst')"
)
METHODS = {
    "random": "RandomConfig()",
    "tome": "TomeConfig(matcher='projected')",
    "tome, cells": "TomeConfig(matcher='cells')",
    "tome, faiss candidates": "TomeConfig(matcher='faiss', probed_cells=32)",
    "tome, f=1/8": "TomeConfig(matcher='projected', max_merge_fraction=0.125)",
    "tome, metric survivor": "TomeConfig(matcher='projected', metric='survivor')",
    "tome_literal": LITERAL,
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
from sg.curate.curators.d4 import D4Config
from sg.curate.curators.dbp import DbpConfig
from sg.curate.curators.hierarchical_kmeans import HierarchicalKMeansConfig
from sg.curate.curators.kmeans import KMeansConfig
from sg.curate.curators.random import RandomConfig
from sg.curate.curators.semdedup import SemDedupConfig
from sg.curate.curators.ssl_prototypes import PrototypesConfig
from sg.curate.tome.settings import TomeConfig
from sg.curate.pipeline import curate
started, cpu = time.monotonic(), time.process_time()
curate({config}, Path({vectors!r}), None, Path({out!r}))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({{"wall": time.monotonic() - started, "cpu": time.process_time() - cpu, "gib": peak}}))
"""
COLUMNS = ("method", "wall s", "cpu s", "peak GiB", "core", "families", "topics", "mean", "p1", "dup")


def measured(name: str, vectors: Path, out: Path) -> list[list[Any]]:
    """Rows of the table for a method; finished curations and statistics are reused from `out`."""
    folder = folder_of(out, name)
    kept = folder / "rows.json"
    if not kept.is_file():
        cost = run(METHODS[name], vectors, folder)
        cores = cores_of(vectors, folder)
        costs = [round(cost["wall"]), round(cost["cpu"]), round(cost["gib"], 1)]
        write_json(kept, [[name, *costs, *core] for core in cores])
    rows: list[list[Any]] = json.loads(kept.read_text())
    return rows


def folder_of(out: Path, name: str) -> Path:
    """The folder of the curation of a method."""
    return out / name.replace(", ", "-").replace("/", "-").replace(" ", "-").replace("=", "")


def run(config: str, vectors: Path, folder: Path) -> dict[str, float]:
    """Seconds and memory of a curation in a process of its own; an interrupted one is resumed."""
    kept = folder / "cost.json"
    if not kept.is_file():
        script = RUN.format(config=config, vectors=str(vectors), out=str(folder))
        done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
        write_json(kept, json.loads(done.stdout.splitlines()[-1]))
    cost: dict[str, float] = json.loads(kept.read_text())
    return cost


def cores_of(vectors: Path, folder: Path) -> list[list[Any]]:
    """Size, families, topics, mean and first percentile of coverage, and duplicates of each core, largest first."""
    from sg.artefacts.forest import read_forest
    from sg.artefacts.vectors import read_vectors
    from sg.curate.changes import unit_of_forest
    from sg.curate.describe.statistics import StatisticsSettings, core_statistics

    forest, stored = read_forest(folder / "forest.parquet"), read_vectors(vectors)
    sizes = [round(len(forest) * rung / 530) for rung in RUNGS]
    unit = unit_of_forest(forest, stored)
    truth = dict(np.load(vectors / "truth.npz")) if (vectors / "truth.npz").is_file() else {}
    row_of = {video_id: row for row, video_id in enumerate(stored.video_ids)}
    order = np.array([row_of[video_id] for video_id in reversed(forest.video_ids)])
    del stored
    rows = []
    for core in reversed(core_statistics(forest, unit, sizes, StatisticsSettings(sample=2048))["cores"]):
        kept = [share_kept(truth[name], order[: core["size"]]) if truth else None for name in ("family", "topic")]
        coverage = core["coverage"]
        rows.append([core["size"], *kept, round(coverage["mean"], 3), round(coverage["p1"], 3), core["duplicates"]])
    return rows


def share_kept(label: np.ndarray, core: np.ndarray) -> float:
    """Distinct labels in the core, divided by the largest number that it could hold."""
    return round(len(np.unique(label[core])) / min(len(core), len(np.unique(label))), 3)


def write_table(out: Path, rows: list[list[Any]]) -> None:
    with atomic_path(out / "table.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    write_text(out / "table.md", "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        measured(name, options.vectors, options.out)
        done = [known for known in METHODS if (folder_of(options.out, known) / "rows.json").is_file()]
        write_table(options.out, [row for known in done for row in measured(known, options.vectors, options.out)])
        print(f"{name}: done ({len(done)} methods in {options.out / 'table.md'})", flush=True)
    print((options.out / "table.md").read_text())


if __name__ == "__main__":
    main()
