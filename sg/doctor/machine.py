"""Examines the machine: Python, packages, devices, decoders, disk, and whether keys are set, without printing them."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sg.core.errors import SgError
from sg.core.layout import IS_CLONE, located
from sg.core.tracking import LoggerConfig, resolved_mode
from sg.doctor.findings import LACK, NOTE, OK, Finding
from sg.study.config import TrainConfig

CONSTRAINTS = "constraints.txt"
WATCHED = ("torch", "transformers", "pytorch-lightning", "hydra-core", "av", "wandb", "pyarrow", "peft")
EXTRAS = {"submitit": "slurm", "ray": "ray", "wandb_workspaces": "dashboard"}
KEYS = {
    "GEMINI_API_KEY": "captions by Gemini",
    "OPENAI_COMPATIBLE_API_KEY": "captions by another service",
    "HF_TOKEN": "gated models and data of the Hugging Face hub",
}
GIB = 2**30


def examine_machine(config: TrainConfig, runs: Sequence[TrainConfig] = (), on_cluster: bool = False) -> list[Finding]:
    """Findings about the machine for a study with this config.

    Args:
        runs: the runs of a sweep; without them the study is one run.
        on_cluster: whether its jobs run on other machines.
    """
    disk = _disk(config, runs or [config])
    return [*_python(), *_packages(), *_device(config, on_cluster), *_decoders(), *_keys(config.logger), *disk]


def _python() -> Iterator[Finding]:
    is_good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("Python", OK if is_good else LACK, text, "" if is_good else "use Python 3.11, 3.12 or 3.13")


def _packages() -> Iterator[Finding]:
    pinned = _pinned()
    for name in WATCHED:
        try:
            found = version(name)
        except PackageNotFoundError:
            install = "make setup" if IS_CLONE else f"pip install {name}"
            yield Finding("Python", LACK, f"{name} is not installed", install)
            continue
        wanted = pinned.get(name, found).strip()
        same = found.split("+")[0] == wanted
        yield Finding("Python", OK if same else NOTE, f"{name} {found}", "" if same else f"tested with {wanted}")
    for module, extra in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            yield Finding("Python", NOTE, f"extra {extra} is not installed", f"pip install -e '.[{extra}]'")


def _pinned() -> dict[str, str]:
    """{package: version} of constraints.txt; empty for an installed wheel, which does not hold that file."""
    file = located(CONSTRAINTS)
    if not (IS_CLONE and file.is_file()):
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if line.count("==") == 1)


def _device(config: TrainConfig, on_cluster: bool) -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        properties = torch.cuda.get_device_properties(number)
        yield Finding("Devices", OK, f"GPU {number}: {properties.name}, {properties.total_memory / GIB:.0f} GiB")
    if not count:
        yield Finding("Devices", NOTE, "no CUDA device; the demo does not need one")
    if config.trainer.accelerator == "gpu" and count < config.trainer.devices:
        if on_cluster:
            needed = config.trainer.devices
            yield Finding("Devices", NOTE, f"each job needs a node with {needed} GPU(s) (trainer.devices)")
            return
        text = f"trainer.devices={config.trainer.devices}, but this machine has {count} GPUs"
        yield Finding("Devices", LACK, text, "choose trainer=cpu, or set trainer.devices")


def _decoders() -> Iterator[Finding]:
    import av

    yield Finding("Decoders", OK, f"PyAV {av.__version__}, FFmpeg libavcodec {'.'.join(map(str, _libavcodec()))}")
    codecs = {name for name in ("h264", "hevc", "vp9", "av1", "mpeg4") if name in av.codecs_available}
    lacking = {"h264", "hevc", "vp9", "av1", "mpeg4"} - codecs
    status = NOTE if lacking else OK
    yield Finding("Decoders", status, f"codecs {', '.join(sorted(codecs))}" + (f"; not {lacking}" if lacking else ""))
    for name in ("decord", "torchcodec"):
        found = importlib.util.find_spec(name) is not None
        yield Finding("Decoders", OK if found else NOTE, f"{name} {'is' if found else 'is not'} installed (optional)")


def _libavcodec() -> tuple[int, ...]:
    import av

    return tuple(av.library_versions["libavcodec"])


def _keys(logger: LoggerConfig) -> Iterator[Finding]:
    mode = resolved_mode(logger) if logger.kind == "wandb" else "off (logger=csv)"
    yield Finding("Keys", OK, f"W&B: {mode}", "wandb login" if mode == "offline" else "")
    for name, use in KEYS.items():
        is_set = bool(os.environ.get(name))
        yield Finding("Keys", OK if is_set else NOTE, f"{name} is {'set' if is_set else 'not set'} ({use})")


def _disk(config: TrainConfig, runs: Sequence[TrainConfig]) -> Iterator[Finding]:
    from sg.train.data.visual_tokens import readable_size

    wanted, whole = _disk_of_plan(runs), "a run" if len(runs) == 1 else f"the sweep of {len(runs)} runs"
    for name, folder in (("paths.work", config.paths.work), ("paths.runs", config.paths.runs)):
        place = _existing(Path(folder).absolute())
        free = shutil.disk_usage(place).free / GIB
        if not os.access(place, os.W_OK):
            yield Finding(
                "Disk", LACK, f"{name}={folder} cannot be written", f"set {name} to a folder that you can write"
            )
        text = f"{name}={folder}: {free:,.0f} GiB free"
        need = wanted if name == "paths.work" else 0.0
        text += f"; {whole} with these settings needs {readable_size(need)}" if need else ""
        few = shutil.disk_usage(place).free < need
        yield Finding("Disk", NOTE if few else OK, text, f"set {name} to a larger disk" if few else "")


def _disk_of_plan(runs: Sequence[TrainConfig]) -> float:
    """Bytes that the plan of the runs (`dry_run=true`) expects on the disk of `paths.work`; 0 without a number."""
    from sg.study.planning.plan import planned_work

    try:
        totals = planned_work(runs)[1].totals(runs)
    except SgError:  # The part "Settings" of the findings has the sentence.
        return 0.0
    return 0.0 if totals is None else float(totals["disk_bytes"])


def _existing(path: Path) -> Path:
    """`path`, or its nearest parent folder that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
