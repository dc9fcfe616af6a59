"""How `curator=tome_sharded` grows with the number of vectors: time, memory, disk, bytes moved, confirmed merges.

    python benchmarks/curation/growth.py run --counts 88000 125000 --exact 125000 --out OUT      # measure, one row each
    python benchmarks/curation/growth.py table --out OUT                                         # table, fit and plot

Shards have the same size at every count, so the work of a round should grow with the count and not with its square.
Every run is a process of its own (`engine=local`). Bytes moved are those that it read and wrote, also from the page
cache. A row with `memory` is the exact run in memory (`matcher=projected`), to which the cores of the sharded run are
compared; a row with `ray` is a sharded run with `engine=ray`, whose forest must be that of `engine=local`, and counts
the driver only. `run` appends to `OUT/growth.jsonl` and repeats no row; a run that was killed resumes after its
last round, and its times are added up. Set OMP_NUM_THREADS to the number of cores to use.
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.curation.synthetic_vectors import write_synthetic
from sg.artefacts.forest import read_forest
from sg.core.files import read_json, write_json
from sg.curate.pipeline import curate
from sg.curate.sharded.settings import ShardedTomeConfig
from sg.curate.tome.settings import TomeConfig

DIM = 512
CORES = (2, 4, 5, 10, 20, 50, 100)
"""Cores that are compared: the count divided by these."""
_WATCH_EVERY_S = 1.0


class Spent(threading.Thread):
    """Notes once a second, in `out/spent.json`, what a run took, so that a run that was killed continues its counts."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self.out, self.path, self._end = out, out / "spent.json", threading.Event()
        nothing = {"wall_s": 0.0, "cpu_s": 0.0, "peak_gib": 0.0, "disk_gb": 0.0, "moved_gb": 0.0}
        self.before: dict[str, float] = read_json(self.path) if self.path.is_file() else nothing
        self.disk, self.began = self.before["disk_gb"], (time.monotonic(), time.process_time(), moved_bytes())

    def run(self) -> None:
        """Look once a second."""
        while not self._end.wait(_WATCH_EVERY_S):
            self.disk = max(self.disk, size_of(self.out) / 1e9)
            write_json(self.path, self.so_far())

    def so_far(self) -> dict[str, float]:
        """What this attempt and the ones before it took."""
        wall, cpu, moved = self.began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {
            "wall_s": round(self.before["wall_s"] + time.monotonic() - wall, 1),
            "cpu_s": round(self.before["cpu_s"] + time.process_time() - cpu, 1),
            "peak_gib": round(max(self.before["peak_gib"], peak), 2),
            "disk_gb": round(self.disk, 2),
            "moved_gb": round(self.before["moved_gb"] + (moved_bytes() - moved) / 1e9, 1),
        }

    def stop(self) -> dict[str, float]:
        """End, and return what it took."""
        self._end.set()
        self.join()
        return self.so_far()


def size_of(folder: Path) -> int:
    """Bytes of the files of a folder; a file that disappears meanwhile counts for nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def moved_bytes() -> int:
    """Bytes that this process has read and written so far, through system calls."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"]) + int(lines["wchar"])


def measure(vectors: Path, config: TomeConfig, out: Path) -> dict[str, Any]:
    """Curate, and return what it took; a run that was killed resumes after its last round."""
    out.mkdir(parents=True, exist_ok=True)
    spent = Spent(out)
    spent.start()
    path = curate(config, vectors, None, out)
    report = read_json(path.parent / "curation.json")
    agreements = [record["agreement"] for record in report["rounds"] if record["agreement"] is not None]
    return spent.stop() | {
        "rounds": len(report["rounds"]),
        "rounds_in_shards": sum(record["tokens"] > getattr(config, "in_memory_below", math.inf)
                                for record in report["rounds"]),
        "confirmed": min(agreements, default=None),
    }  # fmt: skip


def agreement(sharded: Path, exact: Path) -> dict[str, float]:
    """Share of the exact core of each size that the sharded core has too."""
    one, other = read_forest(sharded / "forest.parquet"), read_forest(exact / "forest.parquet")
    sizes = [len(other) // part for part in CORES]
    return {f"1/{part}": len(set(one.core(n)) & set(other.core(n))) / n for part, n in zip(CORES, sizes, strict=True)}


def run(options: argparse.Namespace) -> None:
    rows = read_rows(options.out)
    for count in sorted({*options.counts, *options.exact, *options.ray}):
        vectors = options.out / f"vectors-{count}"
        if not (vectors / "vectors.json").is_file():
            in_a_process(write_synthetic, vectors, count, DIM)
        sharded = ShardedTomeConfig(
            rows_per_shard=options.rows_per_shard,
            probed_shards=options.probed,
            in_memory_below=options.in_memory_below,
            matcher="projected",
        )
        kinds: dict[str, TomeConfig] = {"sharded": sharded} if count in options.counts else {}
        kinds |= {"memory": TomeConfig(matcher="projected")} if count in options.exact else {}
        kinds |= {"ray": dataclasses.replace(sharded, engine="ray")} if count in options.ray else {}
        for kind, config in kinds.items():
            if any((row["count"], row["kind"]) == (count, kind) for row in rows):
                continue
            row = {"count": count, "kind": kind}
            row |= in_a_process(measure, vectors, config, options.out / f"{kind}-{count}")
            if kind == "ray":
                forests = [options.out / f"{name}-{count}" / "forest.parquet" for name in ("ray", "sharded")]
                assert forests[0].read_bytes() == forests[1].read_bytes(), f"{forests}: two forests"
            if kind != "memory":
                row |= {"rows_per_shard": options.rows_per_shard, "probed": options.probed,
                        "in_memory_below": options.in_memory_below}  # fmt: skip
            rows.append(row)
            with (options.out / "growth.jsonl").open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def read_rows(out: Path) -> list[dict[str, Any]]:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "growth.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def in_a_process(function: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def exponent(counts: list[int], values: list[float]) -> tuple[float, float]:
    """Slope of log(value) over log(count) by least squares, and the half-width of its 95 % interval (t)."""
    from scipy.stats import linregress, t

    fit = linregress([math.log(count) for count in counts], [math.log(value) for value in values])
    return float(fit.slope), float(fit.stderr * t.ppf(0.975, len(counts) - 2))


def table(options: argparse.Namespace) -> None:
    rows = sorted(read_rows(options.out), key=lambda row: (row["kind"], row["count"]))
    print("| vectors | run | wall s | CPU s | memory GiB | disk GB | moved GB | rounds (in shards) | confirmed |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        confirmed = "" if row["confirmed"] is None else f"{row['confirmed']:.4f}"
        cells = (f"{row['count']:,}", row["kind"], f"{row['wall_s']:.0f}", f"{row['cpu_s']:.0f}", row["peak_gib"],
                 row["disk_gb"], row["moved_gb"], f"{row['rounds']} ({row['rounds_in_shards']})",
                 confirmed)  # fmt: skip
        print(f"| {' | '.join(map(str, cells))} |")
    print()
    for kind in ("sharded", "memory"):
        own = [row for row in rows if row["kind"] == kind]
        if len(own) > 2:
            for what in ("cpu_s", "peak_gib", "disk_gb", "moved_gb"):
                slope, half = exponent([row["count"] for row in own], [max(row[what], 1e-3) for row in own])
                print(f"{kind}: {what} grows with the count to the power {slope:.2f} +- {half:.2f} ({len(own)} counts)")
    for row in rows:
        folders = [options.out / f"{kind}-{row['count']}" for kind in ("sharded", "memory")]
        if row["kind"] == "memory" and all((folder / "forest.parquet").is_file() for folder in folders):
            shares = agreement(*folders)
            print(f"{row['count']:,}: " + ", ".join(f"core of {part} {share:.4f}" for part, share in shares.items()))
    plot(rows, options.plot or options.out / "growth.png")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    kinds = (("cpu_s", "CPU seconds"), ("peak_gib", "peak memory (GiB)"), ("moved_gb", "bytes moved (GB)"))
    for axis, (what, label) in zip(axes, kinds, strict=True):
        for kind, marker in (("sharded", "o"), ("memory", "s")):
            own = [row for row in rows if row["kind"] == kind]
            axis.loglog([row["count"] for row in own], [row[what] for row in own], marker=marker, label=kind)
        axis.set_xlabel("vectors of 512 numbers")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3, which="both")
    axes[0].legend()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("--counts", type=int, nargs="*", default=[])
    parser.add_argument("--exact", type=int, nargs="*", default=[], help="counts that are also run in memory")
    parser.add_argument("--ray", type=int, nargs="*", default=[], help="counts that also run on a local Ray cluster")
    parser.add_argument("--rows-per-shard", type=int, default=12_500)
    parser.add_argument("--probed", type=int, default=ShardedTomeConfig().probed_shards)
    parser.add_argument("--in-memory-below", type=int, default=40_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path, help="file of the plot; by default growth.png in OUT")
    options = parser.parse_args()
    run(options) if options.action == "run" else table(options)


if __name__ == "__main__":
    main()
