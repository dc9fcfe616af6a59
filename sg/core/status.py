"""What a long command is doing, in one small JSON file per process, which `sg status` shows in another shell.

A command that shows a progress bar for more than a few seconds writes `status/<host>-<pid>.json` in its work folder.
"""

import contextlib
import csv
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.core.errors import DataError, first_line
from sg.core.files import read_record, write_record
from sg.core.places.mirror import push

STATUS_FOLDER = "status"
RUNNING, DONE, FAILED, STOPPED, LOST = "running", "done", "failed", "stopped", "lost"
KEEP_S = 7 * 86400.0
"""Files of commands that ended longer ago are removed by the next command that ends."""
NEWS_WITHIN_S = 600.0
"""A command on another machine without news for longer counts as lost."""
_FIRST_WRITE_S, _INTERVAL_S = 3.0, 5.0
_MAX_BARS = 20
_DRIVER_WITHIN_S = 10.0
_DRIVER_SAYS = ("uuid", "utilization.gpu", "memory.used")
_BAR_NUMBERS = ("done", "total", "failed", "per_s", "left_s", "cost_usd")


@dataclass(slots=True)
class _Job:
    """The command of this process; `written` is the time of the last write, None before the first one."""

    path: Path
    record: dict[str, Any]
    bars: dict[int, dict[str, Any]] = field(default_factory=dict)
    written: float | None = None
    pid: int = field(default_factory=os.getpid)


_jobs: list[_Job] = []
listeners: list[Callable[[dict[str, float]], None]] = []
"""Receive the numbers of every write: of the bars by their labels, and of the GPUs."""


@contextlib.contextmanager
def reported_in(work: str | Path, result_folder: str | Path) -> Iterator[None]:
    """Report the progress bars of the block in `work`; `result_folder` is where the command writes its result.

    A failure to write is ignored: a full disk is reported by the work itself.
    """
    host, pid = socket.gethostname(), os.getpid()
    record = {
        "command": shlex.join(word for word in _typed_words() if not word.startswith("hydra.mode=")),
        "result_folder": str(result_folder),
        "host": host,
        "pid": pid,
        "process_began": _process_began(pid),
        "began": time.time(),
    }
    _jobs.append(_Job(Path(work) / STATUS_FOLDER / f"{host}-{pid}.json", record))
    try:
        yield
        _end(DONE, "")
    except KeyboardInterrupt:
        _end(STOPPED, "")
        raise
    except BaseException as error:
        _end(FAILED, first_line(error))
        raise
    finally:
        _jobs.pop()


def note(number: int, state: Callable[[], dict[str, Any]], is_last: bool = False) -> None:
    """Record the `state` of the bar with this number, at most every few seconds; bars call this themselves."""
    job = _jobs[-1] if _jobs else None
    if job is None or job.pid != os.getpid():
        return
    now = time.time()
    since = job.record["began"] + _FIRST_WRITE_S - _INTERVAL_S if job.written is None else job.written
    if now - since < _INTERVAL_S and not (is_last and job.written is not None):
        return
    job.bars[number] = state()
    for old in list(job.bars)[:-_MAX_BARS]:
        del job.bars[old]
    _write(job, RUNNING, "")


def read_status(work: Path) -> list[dict[str, Any]]:
    """The commands that have reported in a work folder, the latest beginning first.

    `state` is `lost` for a command whose process has ended without saying so, or that gave no news for `NEWS_WITHIN_S`
    on another machine.
    """
    files = sorted((work / STATUS_FOLDER).glob("*.json"))
    records = [record for record in map(read_record, files) if record]
    for record in records:
        if record["state"] == RUNNING and not _is_alive(record):
            record["state"] = LOST
    return sorted(records, key=lambda record: (-record["began"], record["pid"]))


def _end(state: str, reason: str) -> None:
    job = _jobs[-1]
    if job.written is None or job.pid != os.getpid():
        return
    _write(job, state, reason)
    with contextlib.suppress(OSError):
        for path in job.path.parent.glob("*.json"):
            if time.time() - path.stat().st_mtime > KEEP_S:
                path.unlink()


def _write(job: _Job, state: str, reason: str) -> None:
    job.written = time.time()
    bars = list(job.bars.values())
    record = {**job.record, "state": state, "reason": reason, "news": job.written, "bars": bars, "gpus": _gpu_use()}
    with contextlib.suppress(OSError, ValueError, DataError):
        write_record(job.path, record, durable=False)
        push(job.path)
    for listener in listeners:
        listener(_numbers(record))


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    """`progress/<label>/<number>` for the bars and `gpu/<place>/<number>`, without those that are not known."""
    found: dict[str, Any] = {}
    for bar in record["bars"]:
        found |= {f"progress/{bar['label']}/{name}": bar[name] for name in _BAR_NUMBERS}
    for place, gpu in enumerate(record["gpus"]):
        found |= {f"gpu/{place}/{name}": value for name, value in gpu.items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def _is_alive(record: dict[str, Any]) -> bool:
    if record["host"] != socket.gethostname():
        return time.time() - float(record["news"]) < NEWS_WITHIN_S
    return str(record["process_began"]) == _process_began(record["pid"])


def _process_began(pid: int) -> str:
    """When a process of this machine began, in ticks since the boot; "" if there is none. Process ids are reused."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _typed_words() -> list[str]:
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return ["python", "-m", f"sg.{program.parent.name}", *sys.argv[1:]]
    return [*(["python"] if program.suffix == ".py" else []), program.name, *sys.argv[1:]]


def _gpu_use() -> list[dict[str, float | None]]:
    """One record per visible GPU; empty if this process has not started CUDA.

    `allocated_gb` and `peak_gb` are those of this process. `use_percent` and `used_gb` are those of all processes, and
    None where the driver's `nvidia-smi` does not report them.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    driver, found = _by_driver(), []
    for place in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(place)
        use, used = driver.get(str(device.uuid).removeprefix("GPU-"), (None, None))
        found.append(
            {
                "use_percent": use,
                "used_gb": None if used is None else used * 2**20 / 1e9,
                "allocated_gb": torch.cuda.memory_allocated(place) / 1e9,
                "peak_gb": torch.cuda.max_memory_allocated(place) / 1e9,
                "total_gb": device.total_memory / 1e9,
            }
        )
    return found


def _by_driver() -> dict[str, tuple[float | None, float | None]]:
    """By UUID of the GPU its use in percent and its used memory in MiB."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    asked = [program, f"--query-gpu={','.join(_DRIVER_SAYS)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=_DRIVER_WITHIN_S).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [row for row in csv.reader(said.splitlines(), skipinitialspace=True) if len(row) == len(_DRIVER_SAYS)]
    return {uuid.removeprefix("GPU-"): (_number(use), _number(used)) for uuid, use, used in rows}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # `[N/A]`, such as for the use of a part of a GPU
        return None
