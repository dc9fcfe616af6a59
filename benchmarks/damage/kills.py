"""Kill sweeps and their children, and fill their disk; then compare the tables with those of an undisturbed sweep.

    python benchmarks/damage/kills.py --kills 20 --child-kills 5 --disks 4,10,24

A sweep on a small demo world gets SIGKILL, with all its processes, after a random number of printed lines, and is
started again; each start prints less than the one before, so the number is at most a quarter of the lines of an
undisturbed sweep. After `MOST_KILLS` kills, or when it ends before a kill, the sweep runs to its end. The first killed
sweep begins with nothing; the others begin with the demo world of the undisturbed sweep (videos, captions, vectors,
merge forest), because they take too long otherwise. Then single children get SIGKILL while the sweep continues. Then
the sweep writes to a memory disk that is too small, which grows afterwards; this part needs the right to mount.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_KILLS = 10
SETTINGS = [
    "data.scale=50k", "controls=[]", "logger=csv", "data.world.videos_per_k=1", "data.world.align_clips=24",
    "data.world.instruct_clips=16", "data.world.benchmark_videos=4", "trainer.checkpoint_every_steps=1",
]  # fmt: skip
CHILD_KEY = "hydra.run.dir="


@dataclass
class Sweep:
    """Runs of one sweep that keeps all its files in `folder`."""

    folder: Path
    lines: int = 0
    texts: list[str] = field(default_factory=list)

    def command(self) -> list[str]:
        """The command line."""
        places = {"work": "work", "runs": "runs", "demo_world": "world"}
        paths = [f"paths.{key}={self.folder / name}" for key, name in places.items()]
        return [sys.executable, "train.py", "-m", *SETTINGS, *paths]

    def run(self, kill_after: int | None = None, pause_s: float = 0.0, only_a_child: bool = False) -> int:
        """Run the sweep; kill it, or a child, `pause_s` seconds after a number of lines. Returns the exit code."""
        environment = os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            self.command(), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert child.stdout is not None
        self.lines, seen = 0, []
        for line in child.stdout:
            seen.append(line)
            self.lines += 1
            if self.lines == kill_after:
                time.sleep(pause_s)
                self._kill(child.pid, only_a_child)
        self.texts.append("".join(seen))
        return child.wait()

    @staticmethod
    def _kill(pid: int, only_a_child: bool) -> None:
        if not only_a_child:
            os.killpg(pid, signal.SIGKILL)
            return
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                is_job = CHILD_KEY in (entry / "cmdline").read_text() and os.getpgid(int(entry.name)) == pid
            except (OSError, UnicodeDecodeError):
                continue  # it ended meanwhile
            if is_job:
                os.kill(int(entry.name), signal.SIGKILL)
                return

    def tables(self) -> dict[str, bytes]:
        """The result tables and the answers, by their path in the study's folder."""
        (study,) = [path for path in (self.folder / "runs").iterdir() if path.is_dir()]
        found = {"tables.csv": (study / "report" / "tables.csv").read_bytes()}
        for path in study.glob("*/predictions.jsonl"):
            found[str(path.relative_to(study))] = path.read_bytes()
        return found

    @property
    def traces(self) -> int:
        """Number of runs that printed a stack trace."""
        return sum("Traceback" in text for text in self.texts)


@dataclass
class Outcome:
    """What happened in one part: numbers of faults, rounds with the bytes of the undisturbed sweep, and traces."""

    name: str
    faults: int = 0
    rounds: int = 0
    equal: int = 0
    traces: int = 0

    def add(self, sweep: Sweep, expected: dict[str, bytes]) -> None:
        """Finish `sweep` without a fault and compare its tables."""
        code = sweep.run()
        same = code == 0 and sweep.tables() == expected
        self.rounds, self.equal, self.traces = self.rounds + 1, self.equal + same, self.traces + sweep.traces
        how = "equal" if same else f"DIFFERS, exit {code}; see {sweep.folder}"
        print(f"{self.name}: {self.faults} faults, sweep {self.rounds} ended: {how}", flush=True)
        if sweep.traces:
            print(next(text for text in sweep.texts if "Traceback" in text)[-3000:], flush=True)


def kill_sweeps(folder: Path, kills: int, lines: int, draw: random.Random, expected: dict[str, bytes]) -> Outcome:
    """SIGKILL to whole sweeps, in rounds of at most `MOST_KILLS`."""
    outcome = Outcome("SIGKILL of the sweep")
    while outcome.faults < kills:
        sweep = Sweep(folder / f"killed-{outcome.rounds}")
        if outcome.rounds:
            shutil.copytree(folder / "calm" / "world", sweep.folder / "world")
        for _ in range(min(MOST_KILLS, kills - outcome.faults)):
            code = sweep.run(draw.randint(1, max(2, lines // 4)), draw.random() * 4)
            outcome.faults += code == -signal.SIGKILL
            print(f"  exit {code} after {sweep.lines} lines", flush=True)
            if code == 0:
                break
        outcome.add(sweep, expected)
        if outcome.equal == outcome.rounds:
            shutil.rmtree(sweep.folder)
    return outcome


def kill_children(folder: Path, kills: int, lines: int, draw: random.Random, expected: dict[str, bytes]) -> Outcome:
    """SIGKILL to single runs of a sweep, which reports them as failed and continues."""
    outcome, sweep = Outcome("SIGKILL of a child"), Sweep(folder / "children")
    shutil.copytree(folder / "calm" / "world", sweep.folder / "world")
    while outcome.faults < kills:
        code = sweep.run(draw.randint(1, lines // 4), draw.random() * 4, only_a_child=True)
        outcome.faults += code != 0 and "killed by signal 9" in sweep.texts[-1]
        if code == 0:  # everything is finished: begin again
            outcome.add(sweep, expected)
            shutil.rmtree(sweep.folder)
            shutil.copytree(folder / "calm" / "world", sweep.folder / "world")
    outcome.add(sweep, expected)
    return outcome


def fill_disks(folder: Path, sizes: list[int], expected: dict[str, bytes]) -> Outcome:
    """Sweeps on memory disks of so many MB, which grow after the sweep has ended."""
    outcome = Outcome("full disk")
    for size in sizes:
        disk = folder / f"disk-{size}"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(disk)], check=True)
        try:
            sweep = Sweep(disk)
            code = sweep.run()
            outcome.faults += code != 0
            told = [line.strip() for line in sweep.texts[0].splitlines() if "disk is full" in line]
            print(f"{size} MB: exit {code}; {told[0] if told else 'NOT TOLD'}", flush=True)
            subprocess.run(["mount", "-o", "remount,size=2g", str(disk)], check=True)
            outcome.add(sweep, expected)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return outcome


def main() -> None:
    """Run all parts and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--child-kills", type=int, default=5)
    parser.add_argument("--disks", default="4,10,24", help="sizes in MB; empty for none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, draw = Path(tempfile.mkdtemp(prefix="damage-")), random.Random(options.seed)
    calm = Sweep(folder / "calm")
    if calm.run() != 0:
        sys.exit(calm.texts[0])
    expected = calm.tables()
    print(f"an undisturbed sweep prints {calm.lines} lines", flush=True)
    outcomes = []
    if options.kills:
        outcomes.append(kill_sweeps(folder, options.kills, calm.lines, draw, expected))
    if options.child_kills:
        outcomes.append(kill_children(folder, options.child_kills, calm.lines, draw, expected))
    if options.disks:
        outcomes.append(fill_disks(folder, [int(size) for size in options.disks.split(",")], expected))
    for one in outcomes:
        print(
            f"{one.name}: {one.faults} faults in {one.rounds} sweeps; {one.equal} ended with equal tables "
            f"and answers, byte for byte; {one.traces} printed a stack trace"
        )
    if all(one.equal == one.rounds and not one.traces for one in outcomes):
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
