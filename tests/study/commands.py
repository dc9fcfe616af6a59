"""Run the project's commands as a user does, on a world that is small enough for a test."""

import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
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
WARM = [
    "sg", "sg.study.models", "sg.curate.describe.statistics", "sg.report.write", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg", "statsmodels.stats.multitest", "wandb", "tests.study.commands",
]  # fmt: skip
"""Modules that the commands of tests find imported."""
# Fewer epochs than the demo, for tests that train.
SMALL_STUDY = [*SMALL_WORLD, "stage.caption.epochs=1", "stage.instruct.epochs=2"]


def overrides(folder: Path) -> list[str]:
    """Settings that keep all output of a command inside `folder`."""
    return [f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}"]


def environment() -> dict[str, str]:
    return os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "HYDRA_FULL_ERROR": "0"}


def run(program: Sequence[str], *, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run `python PROGRAM...` in the project's folder, in a new process.

    The process is a fork of a server that has imported torch and Lightning: their import takes 5 of the 7 CPU seconds
    of a small run. `-c PROGRAM` runs in a fresh interpreter.
    """
    if program[0] == "-c":
        return subprocess.run(
            [sys.executable, *program], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
            timeout=timeout_s,
        )  # fmt: skip
    warm = multiprocessing.get_context("forkserver")
    warm.set_forkserver_preload(WARM)
    with tempfile.TemporaryDirectory() as folder:
        shown = [Path(folder, name) for name in ("stdout", "stderr")]
        child = warm.Process(target=_command, args=(list(program), environment(), shown), daemon=False)
        child.start()
        child.join(timeout_s)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(list(program), timeout_s, *[path.read_text() for path in shown])
        return subprocess.CompletedProcess(list(program), child.exitcode, *[path.read_text() for path in shown])


def _command(program: list[str], variables: dict[str, str], shown: Sequence[Path]) -> None:
    """Run `python PROGRAM...` in this process, with its output in the two files `shown`."""
    for path, stream in zip(shown, (1, 2), strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", buffering=1) for stream in (1, 2))
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(variables)
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")


def run_until(
    program: Sequence[str],
    pattern: str,
    *,
    stop: signal.Signals = signal.SIGKILL,
    timeout_s: float = 600,
    host: str = "",
) -> str:
    """Run `python PROGRAM...` and send `stop` to its process group when a line of its output matches `pattern`.

    `host` is the name that the machine has for the program, where this process may choose it.
    """
    named = ["unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh"] if host and os.geteuid() == 0 else []
    child = subprocess.Popen(
        [*named, sys.executable, *program], cwd=ROOT, env=environment(), text=True, start_new_session=True,
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
    """The only study in the runs folder of a test, which may also hold leases of machines."""
    others = {"evaluations", ".leases"}
    (found,) = [path for path in (folder / "runs").iterdir() if path.is_dir() and path.name not in others]
    return found
