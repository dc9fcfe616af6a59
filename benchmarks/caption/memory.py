"""Memory of a captioning process: at each quarter of a run, its peak, and the bytes that one more video adds.

    python -m benchmarks.caption.memory                      # 5,000 and 20,000 videos: two minutes
    python -m benchmarks.caption.memory --videos 5000 20000 100000

Files of a few bytes, no faults, no kills. Results are in README.md in this folder.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.caption.hundred_thousand import CONCURRENCY, answered
from tests.caption.hosted.builder import data_folder, start_worker
from tests.caption.hosted.fake_gemini.running import as_process

SHARES = (0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, nargs="+", default=[5_000, 20_000])
    options = parser.parse_args()
    print("|  videos |   1/4 |   2/4 |   3/4 |   end |  peak | CPU ms per video |")
    print("|--------:|------:|------:|------:|------:|------:|-----------------:|")
    peaks = []
    for videos in options.videos:
        quarters, used = measured(videos)
        columns = " | ".join(f"{megabytes:5.0f}" for megabytes in [*quarters, used["peak_mb"]])
        print(f"| {videos:7,} | {columns} | {1000 * used['cpu_s'] / videos:16.2f} |", flush=True)
        peaks.append((videos, used["peak_mb"]))
    (fewest, low), (most, high) = min(peaks), max(peaks)
    if most > fewest:
        print(f"one more video adds {(high - low) * 2**20 / (most - fewest):.0f} bytes to the peak")


def measured(videos: int) -> tuple[list[float], dict[str, float]]:
    """Resident megabytes when each quarter of the videos has its answer, and what the process reports about itself."""
    folder = Path(tempfile.mkdtemp(prefix="caption-memory-"))
    try:
        data_folder(folder, [f"v{number}" for number in range(videos)])
        with as_process() as url:
            child = start_worker(folder, url, CONCURRENCY)
            quarters = watch(child, folder / "captions" / "gemini" / "ledger.sqlite", videos)
            out, _ = child.communicate()
    finally:
        shutil.rmtree(folder)
    if child.returncode:
        raise SystemExit(f"the run ended with {child.returncode}")
    return quarters, json.loads(out.splitlines()[-1])


def watch(child: "subprocess.Popen[str]", ledger: Path, videos: int) -> list[float]:
    """Resident megabytes of the process at each quarter, read from outside."""
    found: list[float] = []
    while child.poll() is None and len(found) < len(SHARES):
        time.sleep(0.02)
        if answered(ledger) >= SHARES[len(found)] * videos:
            found.append(resident_mb(child.pid))
    return found


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
