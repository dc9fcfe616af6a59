"""A study on an S3 emulator, killed on three machines and finished on a fourth, against the same study on a local disk.

    python -m venv s3 && s3/bin/pip install -e . 'moto[server]' s3fs     # without constraints.txt: python-dateutil < 3
    s3/bin/python benchmarks/places/moved_study.py

Every machine has a cache folder of its own; all that they share is the emulator on loopback. The script prints where
each was killed, which stages were trained where, and which files of the results differ in more than times, commands and
paths. Then two machines make one run at once.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
SMALL = (
    *("data.world.videos_per_k=1", "data.world.align_clips=24", "data.world.instruct_clips=16"),
    *("data.world.benchmark_videos=4", "data.world.held_out_clips=8"),
    *("stage.caption.epochs=1", "stage.instruct.epochs=2", "logger=csv"),
)
KILLS = ("visual tokens:.*to encode", "stage caption: trained", "without_subtitles:")
BUCKET = "s3://bucket"


def main() -> None:
    """Run everything; exits with 1 if a result differs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
        emulator = subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "key", "SG_LEASE_S": "15",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-emulator", "AWS_DEFAULT_REGION": "us-east-1",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        try:
            time.sleep(10)
            sys.exit(compare(folder))
        finally:
            emulator.kill()


def compare(folder: Path) -> int:
    """1 if a result of the moved study differs from that of the local one, else 0."""
    import s3fs

    store = s3fs.S3FileSystem(use_listings_cache=False)
    store.mkdir("bucket")
    local = [f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}"]
    shared = [f"paths.work={BUCKET}/work", f"paths.runs={BUCKET}/runs"]
    run(folder, "local", "data.scale=100k", *local)
    for machine, pattern in zip("abc", KILLS, strict=True):
        run(folder, machine, "data.scale=100k", *shared, until=pattern)
    run(folder, "d", "data.scale=100k", *shared)
    differing = []
    for path in store.find("bucket/runs"):
        ours = folder / path.removeprefix("bucket/")
        if ours.suffix in (".json", ".jsonl", ".txt") and ".leases" not in path:
            differing += [] if plain(store.cat_file(path)) == plain(ours.read_bytes()) else [path]
    for path in store.find("bucket/work"):
        if path.endswith((".safetensors", "forest.parquet", "manifest.parquet")):
            ours = folder / path.removeprefix("bucket/")
            differing += [] if store.cat_file(path) == ours.read_bytes() else [path]
    print("files that differ:", *differing or ["none"])
    both = [start(folder, machine, "data.scale=200k", f"name=two_{machine}", *shared) for machine in "ef"]
    for machine, child in zip("ef", both, strict=True):
        child.wait()
        print_stages(folder, machine)
    return int(bool(differing))


def start(folder: Path, machine: str, *words: str) -> "subprocess.Popen[bytes]":
    """Start a run on a machine; its output goes to `folder/MACHINE.log`."""
    with (folder / f"{machine}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "train.py", *SMALL, *words], cwd=HERE, stdout=log, stderr=subprocess.STDOUT,
            env=os.environ | {"SG_CACHE": str(folder / f"cache_{machine}")},
        )  # fmt: skip


def run(folder: Path, machine: str, *words: str, until: str | None = None) -> None:
    """Run on a machine, to the end or until a line of its output matches; then it is killed."""
    child, log = start(folder, machine, *words), folder / f"{machine}.log"
    while child.poll() is None:
        if until is not None and re.search(until, log.read_text(errors="replace")):
            child.send_signal(signal.SIGKILL)
            child.wait()
            print(f"{machine}: killed at {until!r}")
        time.sleep(0.2)
    print_stages(folder, machine)


def print_stages(folder: Path, machine: str) -> None:
    """Print what a machine did with the stages."""
    for line in (folder / f"{machine}.log").read_text(errors="replace").splitlines():
        if re.search("^stage .*: (reused|trained)|waiting$|is replaced$|^error", line):
            print(f"  {machine}: {line}")


def plain(data: bytes) -> str:
    """The JSON of a result without times, paths, commands and checksums; other text as it is."""
    text = data.decode(errors="replace")
    try:
        rows = [json.loads(line) for line in text.splitlines()] if text.count("\n{") else [json.loads(text)]
    except ValueError:
        return text
    for row in rows:
        for key in ("timings", "command", "config", "inputs", "stages", "sg.crc32", "answers"):
            row.pop(key, None) if isinstance(row, dict) else None
    return json.dumps(rows, sort_keys=True)


if __name__ == "__main__":
    main()
