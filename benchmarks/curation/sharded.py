"""Sharded runs compared with the run in memory: the shared part of each core, and how often the best target is found.

    python benchmarks/curation/sharded.py work/synthetic-26k --rows-per-shard 2000 --probed 1 2 4
    python benchmarks/curation/sharded.py work/synthetic-26k --rows-per-shard 2000 --probed 2 --engine ray

`used` is the lowest share of a round's merges that a check against all targets confirmed. Shards are used
down to a fifth of the tokens.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.forest import read_forest
from sg.artefacts.vectors import read_vector_ids
from sg.core.files import read_json
from sg.curate.pipeline import curate
from sg.curate.sharded.settings import ShardedTomeConfig
from sg.curate.tome.settings import TomeConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--rows-per-shard", type=int, default=2000)
    parser.add_argument("--probed", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    count = len(read_vector_ids(options.vectors))
    with tempfile.TemporaryDirectory(prefix="curation-") as folder:
        exact = read_forest(curate(TomeConfig(matcher="projected"), options.vectors, None, Path(folder) / "memory"))
        print(f"{count} videos, shards of {options.rows_per_shard}, engine {options.engine}")
        print("| probed | core 1/2 | core 1/5 | core 1/10 | used | wall s | cpu s of the driver |")
        print("|---|---|---|---|---|---|---|")
        for probed in options.probed:
            config = ShardedTomeConfig(
                rows_per_shard=options.rows_per_shard,
                probed_shards=probed,
                in_memory_below=count // 5,
                engine=options.engine,
                matcher="projected",
            )
            started, cpu = time.monotonic(), time.process_time()
            path = curate(config, options.vectors, None, Path(folder) / f"probed-{probed}")
            seconds = f"{time.monotonic() - started:.0f} | {time.process_time() - cpu:.0f}"
            forest, rounds = read_forest(path), read_json(path.parent / "curation.json")["rounds"]
            sizes = [count // part for part in (2, 5, 10)]
            shares = [len(set(forest.core(size)) & set(exact.core(size))) / size for size in sizes]
            used = min([record["agreement"] for record in rounds if record["agreement"] is not None], default=1.0)
            print(
                f"| {probed} | {' | '.join(f'{share:.4f}' for share in shares)} | {used:.4f} | {seconds} |", flush=True
            )


if __name__ == "__main__":
    main()
