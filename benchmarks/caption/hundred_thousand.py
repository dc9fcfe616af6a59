"""Many videos, one request in ten fails, kills at random moments: has every video one result, and is nothing lost?

    python -m benchmarks.caption.hundred_thousand --videos 100000 --kills 20

Prints the videos by final state, captions that the service sent and that were not recorded, answers paid for twice
and their bound (kills x concurrency), the memory at every kill, and the CPU time of all processes. 100,000 videos take
about 10 minutes on two idle cores.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sg.caption.ledger import reading
from sg.caption.ledger.ledger import TERMINAL
from tests.caption.hosted.builder import data_folder, start_worker
from tests.caption.hosted.fake_gemini.running import as_process, summary

CONCURRENCY = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--faults", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hundred-thousand-"))
    try:
        data_folder(folder, [f"v{number}" for number in range(options.videos)])
        with as_process("--fault-rate", str(options.faults)) as url:
            used, killed = run_with_kills(folder, url, options.videos, options.kills, random.Random(options.seed))
            report(folder, summary(url), killed, used, options.videos)
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Killed:
    """Answers so far when a process was killed, its resident memory in MB, and its CPU seconds."""

    answers: int
    memory_mb: float
    cpu_s: float


def killed_process(pid: int, answers: int) -> Killed:
    """What the kernel counts for a process that still runs."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    pages, ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    return Killed(
        answers,
        int(fields[21]) * pages / 2**20,
        (int(fields[11]) + int(fields[12])) / ticks,
    )


def run_with_kills(
    folder: Path, url: str, videos: int, kills: int, draw: random.Random
) -> tuple[dict[str, float], list[Killed]]:
    """Kill the process at random numbers of answers, then let one finish; what the last one reports, and the others."""
    moments = sorted(draw.randrange(1, videos) for _ in range(kills))
    ledger, killed = folder / "captions" / "gemini" / "ledger.sqlite", []
    for moment in moments:
        child = start_worker(folder, url, CONCURRENCY)
        while child.poll() is None and answered(ledger) < moment:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 0.2))
        if child.poll() is None:
            killed.append(killed_process(child.pid, answered(ledger)))
        child.send_signal(signal.SIGKILL)
        child.wait()
    child = start_worker(folder, url, CONCURRENCY)
    out, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"the last run ended with {child.returncode}")
    used: dict[str, float] = json.loads(out.splitlines()[-1])
    return used, killed


def answered(ledger: Path) -> int:
    """Answers recorded so far; the table of costs has one row per minute, so frequent queries are cheap."""
    if not ledger.is_file():
        return 0
    try:
        # Not `open_for_reading`, which checks the whole file.
        with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT TOTAL(requests) FROM spend").fetchone()[0])
    except sqlite3.OperationalError:  # the ledger is being created
        return 0


def report(
    folder: Path,
    server: dict[str, int],
    killed: list[Killed],
    used: dict[str, float],
    videos: int,
) -> None:
    with reading.open_for_reading(folder / "captions" / "gemini" / "ledger.sqlite") as db:
        states = dict(db.execute("SELECT state, COUNT(*) FROM task GROUP BY state").fetchall())
        doubled = db.execute("SELECT COUNT(*) - COUNT(DISTINCT task_key) FROM result").fetchone()[0]
        succeeded = states.get("succeeded", 0)
        lost_attempts = reading.lost_requests(db)
        requests = db.execute("SELECT COUNT(*) FROM attempt").fetchone()[0]
    open_clips = sum(count for state, count in states.items() if state not in TERMINAL)
    missing = server["paid_items"] - succeeded
    print(f"videos by state             {states}")
    print(f"not in a terminal state     {open_clips}   (expected: 0)")
    print(f"videos with two results     {doubled}   (expected: 0)")
    print(f"captions sent, not recorded {missing}   (expected: 0)")
    bound = len(killed) * CONCURRENCY
    print(
        f"second paid answers         {server['second_paid']}   (at most {len(killed)} kills x {CONCURRENCY} = {bound})"
    )
    print(f"requests lost in flight     {lost_attempts}   (the ledger's own count)")
    print(f"requests sent / recorded       {server['requests']} / {requests}")
    print(f"last process                {used['cpu_s']:.1f} CPU s, memory peak {used['peak_mb']:.0f} MB")
    for one in killed:
        print(f"killed at {one.answers:>9,} answers  {one.memory_mb:.0f} MB, {one.cpu_s:.1f} CPU s since its start")
    cpu_s = used["cpu_s"] + sum(one.cpu_s for one in killed)
    print(f"all processes               {cpu_s:.0f} CPU s, {1000 * cpu_s / videos:.2f} ms per video with their starts")
    print(f"videos                      {videos:,}")
    good = not open_clips and not doubled and missing <= 0 and server["second_paid"] <= bound
    print("PASSED" if good else "FAILED")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
