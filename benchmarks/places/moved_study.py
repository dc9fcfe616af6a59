"""A study on an S3 emulator, killed on three machines and finished on a fourth, against the same on a local disk.

    python benchmarks/places/moved_study.py [FOLDER] [WORDS]

By default this is the five-scale sweep; WORDS such as `data.scale=100k` run something else. FOLDER keeps the logs.
Every machine has a cache folder and a host name of its own; all that they share is the emulator on loopback, where the
videos, artefacts and runs are. The script prints where each was killed, which stages were trained where, and which
files of the results differ in more than times, commands and paths. Then two machines make one run at once, and two
others two runs with the same stages: no stage may be trained twice.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
SMALL = (
    *("data.world.videos_per_k=1", "data.world.align_clips=24", "data.world.instruct_clips=16"),
    *("data.world.benchmark_videos=4", "data.world.held_out_clips=8"),
    *("stage.caption.epochs=1", "stage.instruct.epochs=2", "logger=csv"),
)
KILLS = (r"visual tokens", r"stage caption: trained", r"stage instruct: \d+ steps")
"""A machine is killed when a line of its output matches its pattern."""
PAIRS = {"e": "name=one_run data.scale=300k", "f": "name=one_run data.scale=300k",
         "g": "name=run_g data.scale=150k", "h": "name=run_h data.scale=150k"}  # fmt: skip
"""What two machines do at once: e and f, then g and h."""
BUCKET = "s3://bucket"


def main() -> None:
    """Run everything; exits with 1 if a result differs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[1] if sys.argv[1:] else name)
        words = sys.argv[2:] or ["-m", "data.scale=50k,100k,200k,400k,530k"]
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
            wait_for(port)
            sys.exit(compare(folder, words))
        finally:
            emulator.kill()


def wait_for(port: int) -> None:
    """Wait until the emulator listens."""
    for _ in range(600):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    sys.exit("the emulator has not started")


def compare(folder: Path, words: Sequence[str]) -> int:
    """1 if a result of the moved study differs from that of the local one, or two machines at once fail, else 0."""
    import s3fs

    store = s3fs.S3FileSystem(use_listings_cache=False)
    store.mkdir("bucket")
    local = [f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}"]
    shared = [f"paths.work={BUCKET}/work", f"paths.runs={BUCKET}/runs"]
    run(folder, "local", *words, *local)
    for machine, pattern in zip("abc", KILLS, strict=True):
        run(folder, machine, *words, *shared, until=pattern)
    run(folder, "d", *words, *shared)
    there = {path.removeprefix("bucket/"): path for path in store.find("bucket") if ".leases" not in path}
    here = {path.relative_to(folder).as_posix() for part in ("work", "runs") for path in (folder / part).rglob("*")}
    results = {path for path in {*there, *here} if is_result(path)}
    both = sorted(results & here & set(there))
    differing = [path for path in both if not is_equal(folder / path, store, there[path])]
    if encoded(sorted(folder.glob(ENCODED))) != encoded(store.glob(f"bucket/{ENCODED}"), store):
        differing.append("visual tokens")
    lonely = sorted(results - set(both))
    print("results on one side only:", *lonely or ["none"])
    print(f"of {len(results)} files of results differ:", *differing or ["none"])
    faults = [fault for pair in ("ef", "gh") for fault in at_once(folder, pair, shared)]
    print("faults of machines at once:", *faults or ["none"])
    return int(bool(lonely or differing or faults))


def at_once(folder: Path, pair: str, shared: Sequence[str]) -> list[str]:
    """Start two machines at once; the machines that failed, and the stages that both trained."""
    children = [start(folder, machine, *PAIRS[machine].split(), *shared) for machine in pair]
    faults = [f"machine {machine}" for machine, child in zip(pair, children, strict=True) if child.wait()]
    for machine in pair:
        print_stages(folder, machine)
    logs = "".join((folder / f"{machine}.log").read_text(errors="replace") for machine in pair)
    trained = re.findall(r"stage \w+: trained (\S+)", logs)
    return faults + sorted({name for name in trained if trained.count(name) > 1})


ENCODED = "work/visual_tokens/*/part-*.parquet"


def encoded(parts: Sequence[Any], store: Any = None) -> list[tuple[str, int, int]]:
    """Clip, size and checksum of all visual tokens. How they are divided into files depends on when one is killed."""
    tables = [rows(part.read_bytes() if store is None else store.cat_file(part)) for part in parts]
    columns = ("key", "count", "crc32")
    return sorted(row for table in tables for row in zip(*(table[name].to_pylist() for name in columns), strict=True))


def is_result(path: str) -> bool:
    """Whether a file must be the same whatever the place: weights, forests, manifests, videos, answers, tables."""
    if re.search("/(wandb|logs|media|[.]hydra|status|last|visual_tokens)/|/[.]", f"/{path}"):
        return False
    if path.startswith("runs/"):
        return path.endswith(("result.json", "predictions.jsonl", "held_out.json", "tables.csv"))
    return path.endswith((".safetensors", "forest.parquet", "manifest.parquet", "captions.parquet", ".mp4"))


def is_equal(ours: Path, store: Any, theirs: str) -> bool:
    """Whether two results are equal: JSON without what `plain` leaves out, rows of tables, all else byte for byte."""
    if ours.suffix == ".parquet":
        return bool(rows(ours.read_bytes()).equals(rows(store.cat_file(theirs))))
    if ours.suffix in (".json", ".jsonl"):
        return plain(ours.read_bytes()) == plain(store.cat_file(theirs))
    return bool(ours.read_bytes() == store.cat_file(theirs))


def rows(data: bytes) -> Any:
    """The rows of a Parquet file without times, and without the places that its header names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data)).replace_schema_metadata(None)
    return table.drop_columns([name for name in table.column_names if name == "created_at"])


def start(folder: Path, machine: str, *words: str) -> "subprocess.Popen[bytes]":
    """Start a run on a machine; its output goes to `folder/MACHINE.log`."""
    # Root can give a process a host name of its own.
    named = (
        ["unshare", "--uts", "sh", "-c", f'hostname machine-{machine}; exec "$@"', "sh"] if os.geteuid() == 0 else []
    )
    with (folder / f"{machine}.log").open("wb") as log:
        return subprocess.Popen(
            [*(named if os.geteuid() == 0 else ()), sys.executable, "train.py", *words, *SMALL],
            cwd=HERE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"SG_CACHE": str(folder / f"cache_{machine}")},
        )  # fmt: skip


def run(folder: Path, machine: str, *words: str, until: str | None = None) -> None:
    """Run on a machine, to the end or until a line of its output matches; then it is killed."""
    child, log = start(folder, machine, *words), folder / f"{machine}.log"
    while child.poll() is None:
        if until is not None and re.search(until, log.read_text(errors="replace")):
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            print(f"{machine}: killed at {until!r}", flush=True)
        time.sleep(0.2)
    print(f"{machine}: exit code {child.returncode}", flush=True)
    print_stages(folder, machine)


def print_stages(folder: Path, machine: str) -> None:
    """Print what a machine did with the stages."""
    for line in (folder / f"{machine}.log").read_text(errors="replace").splitlines():
        if re.search("stage .*: (reused|trained)|waiting$|is replaced$|^error|finished before", line):
            print(f"  {machine}: {line}", flush=True)


def plain(data: bytes) -> str:
    """The JSON of a result without times, paths, commands, commits and checksums; other text as it is."""
    text = data.decode(errors="replace")
    try:
        rows = [json.loads(line) for line in text.splitlines()] if text.count("\n{") else [json.loads(text)]
    except ValueError:
        return text
    for row in rows:
        for key in ("timings", "command", "config", "inputs", "stages", "sg.crc32", "answers", "code"):
            row.pop(key, None) if isinstance(row, dict) else None
    return json.dumps(rows, sort_keys=True)


if __name__ == "__main__":
    main()
