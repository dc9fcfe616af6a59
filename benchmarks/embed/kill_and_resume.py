"""Kill an embedding (SIGKILL) at random moments, resume it, and compare the vectors file by file.

    python benchmarks/embed/kill_and_resume.py --videos 2000 --kills 10

Embeds a demo world once undisturbed. Then embeds it again and kills the whole process group at random moments. Then
runs to the end, and compares every file of the two folders.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(work: Path, out: str, videos_per_k: int) -> list[str]:
    """The embedding command for a demo world in `work`, its vectors under the name `out`."""
    world = [f"data.world.videos_per_k={videos_per_k}", "data.world.align_clips=1", "data.world.instruct_clips=1"]
    world += ["data.world.benchmark_videos=1", "data.world.questions_per_video=1", f"paths.work={work}"]
    return [
        sys.executable, "-m", "sg.embed", "data=demo", *world, f"embedder.name={out}", "embedder.rows_per_part=50",
    ]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Files by name, except the lock."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".lock"}


def timed(line: list[str]) -> float:
    """Run to the end; returns the seconds that it took."""
    started = time.monotonic()
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def kill_once(line: list[str], folder: Path, parts: int, jitter_s: float) -> str:
    """Start, wait for `parts` more finished parts and `jitter_s` seconds, and kill. Returns what was finished."""
    wanted = finished(folder) + parts
    child = subprocess.Popen(
        line, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while child.poll() is None and finished(folder) < wanted:
        time.sleep(0.01)
    time.sleep(jitter_s)
    if child.poll() is not None:
        return "it had ended before"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return f"{finished(folder)} parts finished, {len(list(folder.glob('.*.tmp*')))} incomplete files"


def finished(folder: Path) -> int:
    """Number of finished parts."""
    return len(list(folder.glob("part-*.json")))


def main(videos: int, kills: int, seed: int) -> None:
    """Print each kill and exit with 1 if a file differs."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        videos_per_k = -(-videos // 530)
        line = command(work, "demo", videos_per_k)
        print(f"rendering {530 * videos_per_k} demo videos and embedding them undisturbed", flush=True)
        timed(line)
        folder = next(work.glob("*/embeddings/demo"))
        whole = contents(folder)
        folder.rename(folder.with_name("undisturbed"))
        again = work / "probe"
        folder.mkdir()
        seconds = timed(line)
        assert contents(folder) == whole, "two undisturbed runs differ"
        folder.rename(again)
        print(f"an undisturbed run takes {seconds:.0f} s and writes {len(whole)} files", flush=True)
        for number in range(kills):
            parts, jitter_s = chance.choice([0, 1, 2]), chance.uniform(0, 0.8)
            state = kill_once(line, folder, parts, jitter_s)
            print(f"kill {number + 1}, {jitter_s:.1f} s after {parts} more parts: {state}", flush=True)
        timed(line)
        different = [key for key, value in whole.items() if contents(folder).get(key) != value]
        print(f"after {kills} kills and a rerun {len(whole) - len(different)} of {len(whole)} files are the same")
        sys.exit(bool(different or set(contents(folder)) != set(whole)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    main(arguments.videos, arguments.kills, arguments.seed)
