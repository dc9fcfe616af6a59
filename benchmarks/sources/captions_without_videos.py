"""Time and memory of a scan whose caption file names videos that are not there.

    python benchmarks/sources/captions_without_videos.py                     # 300,000 captions, one video
    git worktree add /tmp/before 44b1f01
    python benchmarks/sources/captions_without_videos.py --before /tmp/before

Each scan runs in a process of its own, in turns with one of the code in the folder `--before`. The last line compares
them. The memory of a process that only imports the reader is printed too, because a scan cannot take less.

Measured with 300,000 captions on a busy machine: 152 MB and 78 % of the CPU time of 44b1f01, which took 294 MB. Imports
are 73 MB of it. Captions that no file can fit are kept compressed, and Arrow arrays are built without pandas.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]


def make_inputs(folder: Path, count: int) -> None:
    """A folder with one small video, and a CSV with captions of `count` others."""
    sys.path.insert(0, str(HERE))
    import numpy as np

    from sg.video.writer import write_video

    (folder / "clips").mkdir()
    write_video(folder / "clips" / "there.mp4", np.zeros((4, 32, 32, 3), np.uint8), 1)
    with (folder / "captions.csv").open("w", encoding="utf-8") as stream:
        stream.write("video,caption\n")
        for number in range(count):
            stream.write(
                f"part{number % 100:02d}/video_{number:07d}.mp4,A person walks along street {number} at dusk\n"
            )


def scan(folder: Path, out: Path, only_import: bool) -> None:
    """Scan in this process, with the code of the current folder, and print CPU seconds and peak MB."""
    sys.path.insert(0, str(Path.cwd()))
    from sg.sources.sets.folder import FolderDataConfig, scan_folder

    if not only_import:
        settings = {"name": "folder", "dir": str(out), "videos": str(folder / "clips")}
        scan_folder(FolderDataConfig(**settings, captions=str(folder / "captions.csv"), workers=1))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{usage.ru_utime + usage.ru_stime:.2f} {usage.ru_maxrss / 1000:.0f}")


def measured(code: Path, folder: Path, *options: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=folder) as out:
        words = [sys.executable, __file__, "--scan", str(folder), "--out", out, *options]
        done = subprocess.run(words, cwd=code, check=True, capture_output=True, text=True)
    seconds, megabytes = done.stdout.split()[-2:]
    return float(seconds), float(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, help="a folder with another version of the code")
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only-import", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scan:
        scan(options.scan, options.out, options.only_import)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, options.count)
        versions = {"now": HERE, **({"before": options.before} if options.before else {})}
        best = {version: (float("inf"), float("inf")) for version in versions}
        for _ in range(options.repeats):
            for version, code in versions.items():
                best[version] = tuple(map(min, best[version], measured(code, folder)))  # type: ignore[assignment]
        for version, (seconds, megabytes) in best.items():
            print(f"{version:<7} {seconds:6.2f} CPU s {megabytes:6.0f} MB")
        print(f"import  {'':12} {measured(HERE, folder, '--only-import')[1]:6.0f} MB")
        if options.before:
            (time, size), (old_time, old_size) = best["now"], best["before"]
            print(f"now / before: time {time / old_time:.2f}, memory {size / old_size:.2f}")


if __name__ == "__main__":
    main()
