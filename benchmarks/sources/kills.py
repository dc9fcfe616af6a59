"""A scan that is killed again and again: no file is opened twice, and the manifest equals that of an undisturbed scan.

python benchmarks/sources/kills.py --videos 600 --kills 10
"""

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from sg.artefacts.manifest import read_manifest  # noqa: E402
from sg.video.writer import write_video  # noqa: E402


def make(folder: Path, count: int) -> None:
    """Video files that differ in their last bytes, every tenth a copy of the one before, and their annotations."""
    video = write_video(folder / "video.mp4", np.zeros((8, 48, 64, 3), np.uint8), fps=2).read_bytes()
    (folder / "videos").mkdir()
    with (folder / "train.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["videoid", "name"])
        for number in range(count):
            table.writerow([number, f"caption {number}"])
            (folder / "videos" / f"{number}.mp4").write_bytes(video + bytes(8 + number - (number % 10 == 9)))


def command(folder: Path, out: str) -> list[str]:
    settings = {"dir": folder / out, "videos": folder / "videos", "annotations": folder / "train.csv", "workers": 1}
    words = [f"data.{key}={value}" for key, value in settings.items()]
    return [sys.executable, "-m", "sg.sources", "data=webvid", "data.benchmark=null", *words]


def journal(folder: Path, name: str) -> list[str]:
    """Keys of a journal's whole lines, in order."""
    path = folder / f"scan-{name}.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line)[0] for line in lines if line.startswith("[") and line.endswith("]")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=600)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    folder, rng, kills = Path(tempfile.mkdtemp(prefix="kills-")), random.Random(0), 0
    make(folder, options.videos)
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command(folder, "whole"), check=True, env=dict(os.environ), **quiet)
    while kills < options.kills:
        process = subprocess.Popen(command(folder, "killed"), **quiet)
        goal = len(journal(folder / "killed", "files")) + rng.randint(1, max(2, options.videos // options.kills))
        while process.poll() is None and len(journal(folder / "killed", "files")) < goal:
            time.sleep(rng.random() / 20)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    subprocess.run(command(folder, "killed"), check=True, env=dict(os.environ), **quiet)
    same = [read_manifest(folder / out / "manifest.parquet").content_hash for out in ("whole", "killed")]
    for name in ("files", "hashes"):
        keys = journal(folder / "killed", name)
        print(f"{name}: {len(keys)} entries, {len(keys) - len(set(keys))} of them twice")
    print(f"{kills} kills; manifest {'the same' if same[0] == same[1] else 'DIFFERS'}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
