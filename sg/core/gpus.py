"""Use and memory of the GPUs of this process: by PyTorch for the process, by the driver for the whole GPU."""

import csv
import shutil
import subprocess
import sys

_TIMEOUT_S = 10.0
_ASKED = ("uuid", "utilization.gpu", "memory.used")


def gpu_use() -> list[dict[str, float | None]]:
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
    asked = [program, f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [row for row in csv.reader(said.splitlines(), skipinitialspace=True) if len(row) == len(_ASKED)]
    return {uuid.removeprefix("GPU-"): (_number(use), _number(used)) for uuid, use, used in rows}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # `[N/A]`, such as for the use of a part of a GPU
        return None
