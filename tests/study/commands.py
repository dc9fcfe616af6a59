"""Run the project's commands as a user does, on a world that is small enough for a test."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

# 530 videos stand for 530k captions, so 50k is 50 videos; few dialogs and questions.
SMALL_WORLD = [
    "data.world.videos_per_k=1",
    "data.world.align_clips=24",
    "data.world.instruct_clips=16",
    "data.world.benchmark_videos=4",
    "data.world.held_out_clips=8",
]
# Fewer epochs than the demo, for tests that train.
SMALL_STUDY = [*SMALL_WORLD, "stage.caption.epochs=1", "stage.instruct.epochs=2"]


def overrides(folder: Path) -> list[str]:
    """Settings that keep all output of a command inside `folder`."""
    return [f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}"]


def environment() -> dict[str, str]:
    return os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "HYDRA_FULL_ERROR": "0"}


def run(program: Sequence[str], *, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run `python PROGRAM...` in the project's folder."""
    return subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def run_until(
    program: Sequence[str], pattern: str, *, stop: signal.Signals = signal.SIGKILL, timeout_s: float = 600
) -> str:
    """Run `python PROGRAM...` and send `stop` to its process group when a line of its output matches `pattern`."""
    child = subprocess.Popen(
        [sys.executable, *program], cwd=ROOT, env=environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert child.stdout is not None
    seen = []
    started = time.monotonic()
    for line in child.stdout:
        seen.append(line)
        if re.search(pattern, line) or time.monotonic() - started > timeout_s:
            break
    os.killpg(child.pid, stop)
    seen.extend(child.stdout)
    child.wait()
    child.stdout.close()
    return "".join(seen)


def study_folder(folder: Path) -> Path:
    """The only study in the runs folder of a test."""
    (found,) = [path for path in (folder / "runs").iterdir() if path.is_dir() and path.name != "evaluations"]
    return found
