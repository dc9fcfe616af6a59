"""Kill curations (SIGKILL) at random moments, repeat them until they end, and compare the bytes.

    python benchmarks/curation/kills.py --runs 20 --count 3000

A run is killed after a random part of the time that an undisturbed run takes, then resumed, killed again, and so on, at
most `MOST_KILLS` times. Each run is a process of its own, forked from a server process that has imported everything.
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

MOST_KILLS = 6
FORK_SERVER = """
import os, sys
from pathlib import Path
from sg.curate.tome.settings import TomeConfig
from sg.curate.pipeline import curate
import sg.curate.tome.resume, sg.curate.tome.merge

config = TomeConfig(block_rows=32, checkpoint_every_s=0.0)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        curate(config, Path(sys.argv[1]), None, Path(line.rstrip("\\n")))
        os._exit(0)
    print(child, flush=True)
    # The child is waited for only after this line: until then no other process, which would be killed, can get its id.
    sys.stdin.readline()
    print(os.waitpid(child, 0)[1], flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How often a run was killed, and whether it ended with the bytes of an undisturbed run."""

    kills: int
    same_bytes: bool


class ForkServer:
    """Starts curations of the vectors in a folder, each in a process of its own."""

    def __init__(self, vectors: Path) -> None:
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-c", FORK_SERVER, str(vectors)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self._answer()

    def run(self, out: Path, seconds: float | None = None, until: Path | None = None) -> bool:
        """Curate into `out`; kill the run after `seconds`, or once the file `until` exists. True if it ended before."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{out}\n")
        child = int(self._answer())
        if seconds is not None:
            time.sleep(seconds)
        while until is not None and not until.is_file() and not (out / "forest.parquet").is_file():
            time.sleep(0.001)
        if seconds is not None or until is not None:
            os.kill(child, signal.SIGKILL)
        self._process.stdin.write("\n")
        return int(self._answer()) == 0

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


def kill_at_random(vectors: Path, folder: Path, runs: int, seed: int) -> list[Outcome]:
    """The outcomes of `runs` curations into folders in `folder`."""
    draw = random.Random(seed)
    outcomes = []
    with ForkServer(vectors) as server:
        started = time.monotonic()
        assert server.run(folder / "undisturbed")
        seconds = time.monotonic() - started
        expected = (folder / "undisturbed" / "forest.parquet").read_bytes()
        for number in range(runs):
            out, kills = folder / f"killed-{number}", 0
            while kills < MOST_KILLS:
                if not server.run(out, seconds=seconds * draw.random()):
                    kills += 1
                elif kills:
                    break
                else:  # it ended before the kill
                    shutil.rmtree(out)
                    seconds /= 2
            assert server.run(out)
            outcomes.append(Outcome(kills, (out / "forest.parquet").read_bytes() == expected))
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from benchmarks.curation.synthetic_vectors import write_synthetic

    with tempfile.TemporaryDirectory(prefix="curation-") as folder:
        write_synthetic(Path(folder) / "vectors", options.count, dim=64)
        outcomes = kill_at_random(Path(folder) / "vectors", Path(folder), options.runs, options.seed)
    print(
        f"{options.runs} runs of {options.count} videos, {sum(outcome.kills for outcome in outcomes)} kills, ", end=""
    )
    print(f"{sum(outcome.same_bytes for outcome in outcomes)} ended with the bytes of the undisturbed run")


if __name__ == "__main__":
    main()
