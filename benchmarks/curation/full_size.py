"""Time and memory of one whole curation, files included, and the hash of the forest.

    python benchmarks/curation/synthetic_vectors.py --count 530000 --out work/synthetic-530k
    python benchmarks/curation/full_size.py work/synthetic-530k                         # exact
    python benchmarks/curation/full_size.py work/synthetic-530k matcher=projected       # the same hash, faster
    python benchmarks/curation/full_size.py work/synthetic-530k matcher=cells
    python benchmarks/curation/full_size.py work/synthetic-530k literal                 # one round per size

Further `key=value` pairs are settings of `TomeConfig`. Set OMP_NUM_THREADS to the number of cores to use.
"""

import argparse
import dataclasses
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.forest import read_forest
from sg.curate.pipeline import curate
from sg.curate.tome.settings import TomeConfig

LITERAL = {
    "order": "reference",
    "collapse_exact": False,
    "max_merge_fraction": 0.5,
    "rungs": [400.0, 200.0, 100.0, 50.0],
    "survivor": "dst",
}


def config_of(settings: list[str]) -> TomeConfig:
    values: dict[str, Any] = dict(LITERAL) if "literal" in settings else {}
    kinds = {field.name: type(field.default) for field in dataclasses.fields(TomeConfig)}
    for setting in settings:
        if setting != "literal":
            key, _, value = setting.partition("=")
            values[key] = value if kinds[key] is str else json.loads(value)
    return TomeConfig(**values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("settings", nargs="*", help="literal, or key=value of TomeConfig")
    parser.add_argument("--out", type=Path, help="where the forest is kept; by default it is thrown away")
    options = parser.parse_args()
    config = config_of(options.settings)
    out = options.out or Path(tempfile.mkdtemp(prefix="curation-"))
    started, cpu = time.monotonic(), time.process_time()
    path = curate(config, options.vectors, None, out)
    wall, cpu = time.monotonic() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    forest, report = read_forest(path), json.loads((path.parent / "curation.json").read_text())
    agreements = [record["agreement"] for record in report["rounds"] if record["agreement"] is not None]
    print("| videos x dim | settings | wall s | cpu s | peak GiB | rounds | lowest agreement | forest |")
    print("|---|---|---|---|---|---|---|---|")
    what = f"{len(forest)} x {report['vectors']['dim']} | {' '.join(options.settings) or 'exact'}"
    lowest = f"{len(report['rounds'])} | {min(agreements, default=1.0):.5f}"
    print(f"| {what} | {wall:.0f} | {cpu:.0f} | {peak:.1f} | {lowest} | {forest.content_hash} |")
    if not options.out:
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
