"""The commands of Slurm for tests: jobs run on this machine, and the state is a folder. `commands` makes them.

`python tests/slurm.py COMMAND ...` is one of `sbatch`, `srun`, `sacct`, `squeue`, `scancel` and `scontrol requeue`, as
far as submitit and this project call them. Every task of a job has a process group, which `scancel --signal` reaches,
as Slurm reaches all processes of a step.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMANDS = ("sbatch", "srun", "sacct", "squeue", "scancel", "scontrol")
PENDING, RUNNING, COMPLETED, FAILED = "PENDING", "RUNNING", "COMPLETED", "FAILED"


def commands(folder: Path) -> dict[str, str]:
    """Write the commands, and return the environment in which they are found."""
    (folder / "bin").mkdir(parents=True)
    for name in COMMANDS:
        path = folder / "bin" / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} {name} "$@"\n')
        path.chmod(0o755)
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SLURM_TEST": str(folder)}


class Job:
    """A job, or a task of an array, by its name `NUMBER` or `NUMBER_INDEX`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.path = name, folder / f"{name}.json"

    def read(self) -> dict[str, Any]:
        """Its record."""
        record: dict[str, Any] = json.loads(self.path.read_text())
        return record

    def write(self, **changes: Any) -> None:
        """Change its record."""
        record = (self.read() if self.path.exists() else {"tasks": [], "starts": 0}) | changes
        beside = self.path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(record))
        beside.replace(self.path)


def all_jobs(folder: Path) -> list[Job]:
    """The jobs by their names."""
    return [Job(folder, path.stem) for path in sorted(folder.glob("*.json"))]


def sbatch(folder: Path, words: Sequence[str]) -> None:
    script = Path(words[0]).read_text()
    flags = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script, re.MULTILINE))
    number = 100 * (1 + len({job.name.split("_")[0] for job in all_jobs(folder)}))
    last = re.match(r"0-(\d+)", flags.get("array", ""))
    names = [str(number)] if last is None else [f"{number}_{index}" for index in range(int(last[1]) + 1)]
    (folder / f"{number}.sh").write_text(script)
    for name in names:
        Job(folder, name).write(state=PENDING, flags=flags)
    for name in names:
        subprocess.Popen(
            [sys.executable, __file__, "run", name], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    print(f"Submitted batch job {number}")


def run(folder: Path, name: str) -> None:
    """Run the script of a job, again after each requeue."""
    job, (number, _, index) = Job(folder, name), name.partition("_")
    flags = job.read()["flags"]
    nodes = int(flags.get("nodes", 1))
    array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index} if index else {}
    variables = {
        "SLURM_JOB_ID": str(int(number) + int(index or 0)), "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_NTASKS": str(nodes * int(flags.get("ntasks-per-node", 1))), "SLURM_TEST_JOB": name,
        "SLURM_JOB_NODELIST": ",".join(["localhost"] * nodes), **array,
    }  # fmt: skip
    while job.read()["state"] == PENDING:
        job.write(state=RUNNING, starts=job.read()["starts"] + 1, tasks=[])
        ended = subprocess.run(["bash", str(folder / f"{number}.sh")], env=os.environ | variables, check=False)
        if job.read()["state"] == RUNNING:
            job.write(state=FAILED if ended.returncode else COMPLETED)


def srun(folder: Path, words: list[str]) -> int:
    """Start the tasks of a job, one per node; `SLURM_TEST_KILL` kills the tasks of the job of that name at once."""
    job, patterns = Job(folder, os.environ["SLURM_TEST_JOB"]), {}
    while words[0].startswith("--"):
        flag = words.pop(0)
        if flag in ("--output", "--error"):
            patterns[flag] = words.pop(0)
    tasks = []
    for rank in range(int(os.environ["SLURM_NTASKS"])):
        number, _, index = job.name.partition("_")
        places = {"%A": number, "%a": index, "%j": job.name, "%t": str(rank)}
        paths = [_filled(patterns[flag], places) for flag in ("--output", "--error")]
        variables = {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank), "SLURM_LOCALID": "0"}
        with paths[0].open("a") as output, paths[1].open("a") as error:
            task = subprocess.Popen(
                words, env=os.environ | variables, stdout=output, stderr=error, start_new_session=True
            )
        tasks.append(task)
    job.write(tasks=[task.pid for task in tasks])
    if os.environ.get("SLURM_TEST_KILL") == job.name:
        send(job, signal.SIGKILL)
    return max(task.wait() % 256 for task in tasks)


def _filled(pattern: str, places: dict[str, str]) -> Path:
    return Path(re.sub("%[Aajt]", lambda found: places[found[0]], pattern))


def send(job: Job, number: signal.Signals) -> None:
    """Send a signal to all processes of the job's tasks, also to those in a process group of their own."""
    for process in [one for task in job.read()["tasks"] for one in _with_children(task)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _with_children(process: int) -> list[int]:
    lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    return [process, *(one for child in " ".join(lists).split() for one in _with_children(int(child)))]


def wait_for(job: Job, condition: Any, timeout_s: float) -> None:
    """Wait until the condition holds for the record of a job."""
    end = time.monotonic() + timeout_s
    while not (job.path.exists() and condition(job.read())):
        assert time.monotonic() < end, job.name
        time.sleep(0.2)


def main(command: str, words: list[str]) -> int:
    folder = Path(os.environ["SLURM_TEST"])
    if command == "sbatch":
        sbatch(folder, words)
    elif command == "run":
        run(folder, words[0])
    elif command == "srun":
        return srun(folder, words)
    elif command == "scontrol":
        Job(folder, words[1]).write(state=PENDING)
    elif command == "scancel":
        name = words[words.index("--signal") + 1] if "--signal" in words else "SIGTERM"
        send(Job(folder, words[0]), signal.Signals[f"SIG{name.removeprefix('SIG')}"])
    else:
        print("JobID|State|NodeList")
        print("\n".join(f"{job.name}|{job.read()['state']}|localhost" for job in all_jobs(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
