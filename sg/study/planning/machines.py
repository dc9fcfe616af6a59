"""GPUs to rent: which of them a study fits, and what it costs there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sg.core.errors import ConfigError
from sg.models.sizes import ModelSize
from sg.study.planning.memory import stage_memory
from sg.train.config import StageConfig, TrainerConfig
from sg.train.flops import PEAK_TFLOPS

COUNTS = (1, 2, 4, 8)
RESERVED_BYTES = 2e9
"""The CUDA context, and what PyTorch's allocator holds back."""
ERROR = 1.1
"""The memory formula may be 10 % too low."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of a cloud.

    Attributes:
        name: its name in `PEAK_TFLOPS`.
        memory_gb: memory in 10^9 bytes.
        usd_per_hour: price of one GPU for one hour on demand, at `seller` on the day `date`.
        linked: several of them are joined by NVLink, which sharding needs.
    """

    name: str
    memory_gb: int
    usd_per_hour: float
    seller: str
    date: str
    linked: bool = True


RUNPOD, VERDA, OPENRELAY = "RunPod Secure Cloud", "Verda", "OpenRelay"
GPUS = (
    # All prices are second hand: from public lists that name the seller's page and the day on which they read it.
    Gpu("B200", 180, 6.79, RUNPOD, "2026-10-07"),
    Gpu("H200", 141, 4.59, RUNPOD, "2026-10-07"),
    Gpu("H100", 80, 3.99, RUNPOD, "2026-11-09"),
    Gpu("H100 PCIe", 80, 2.89, RUNPOD, "2026-11-09", linked=False),
    Gpu("A100", 80, 1.79, RUNPOD, "2026-11-09"),
    Gpu("A6000", 48, 0.82, VERDA, "2026-10-29", linked=False),
    Gpu("4090", 24, 0.29, OPENRELAY, "2026-09-20", linked=False),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Some GPUs of one kind, and what one of them needs for the largest stage, in bytes."""

    gpu: Gpu
    count: int
    needed: float

    def cost(self, gpu_hours: float) -> float:
        """US dollars of so many hours of one GPU."""
        return gpu_hours * self.gpu.usd_per_hour


def fitting_machines(trainer: TrainerConfig, stages: Sequence[tuple[ModelSize, StageConfig]]) -> list[Machine]:
    """By GPU the machine that the stages fit: with `trainer.devices` GPUs if that suffices, else the smallest one.

    All weights that are trained are sharded over several GPUs; adapters are trained by DDP.
    """
    found = []
    for gpu in GPUS:
        for tried in _trainers(trainer, stages, gpu):
            try:
                needed = max(stage_memory(tried, size, stage) for size, stage in stages)
            except ConfigError:  # the batch cannot be divided among so many
                continue
            if ERROR * needed + RESERVED_BYTES <= gpu.memory_gb * 1e9:
                found.append(Machine(gpu, tried.devices, needed))
                break
    return found


def _trainers(
    trainer: TrainerConfig, stages: Sequence[tuple[ModelSize, StageConfig]], gpu: Gpu
) -> Iterator[TrainerConfig]:
    several = "ddp" if any(stage.has_adapters for _, stage in stages) else "fsdp"
    for count in (trainer.devices, *COUNTS):
        if count == 1 or gpu.linked or several == "ddp":
            yield replace(trainer, devices=count, nodes=1, strategy="auto" if count == 1 else several)


def cheapest_machine(
    trainer: TrainerConfig, stages: Sequence[tuple[ModelSize, StageConfig]], flops: float
) -> dict[str, Any] | None:
    """The machine on which `flops` operations cost least, as a record; None if the stages fit none of the table.

    All GPUs are assumed to reach `trainer.expected_mfu` of their own peak.
    """
    from sg.study.planning.estimate import gpu_hours

    def hours(machine: Machine) -> float:
        return gpu_hours(flops, replace(trainer, peak_tflops=PEAK_TFLOPS[machine.gpu.name]))

    fitting = fitting_machines(trainer, stages)
    if not fitting:
        return None
    best = min(fitting, key=lambda machine: machine.cost(hours(machine)))
    return {
        "gpu": best.gpu.name,
        "gpus": best.count,
        "memory_gb": best.gpu.memory_gb,
        "needed_bytes": best.needed,
        "gpu_hours": hours(best),
        "usd": best.cost(hours(best)),
        "usd_per_gpu_hour": best.gpu.usd_per_hour,
        "price_of": f"{best.gpu.seller}, {best.gpu.date}, second hand",
    }


def machine_text(machine: dict[str, Any] | None) -> str:
    """The record of `cheapest_machine` as one line."""
    from sg.train.data.visual_tokens import readable_size

    if machine is None:
        largest = max(GPUS, key=lambda gpu: gpu.memory_gb)
        return f"cheapest machine that fits: none with up to {COUNTS[-1]} GPUs of {largest.memory_gb} GB"
    hours = machine["gpu_hours"] / machine["gpus"]
    return (
        f"cheapest machine that fits: {machine['gpus']} x {machine['gpu']} of {machine['memory_gb']} GB "
        f"({readable_size(machine['needed_bytes'])} needed per GPU): ${machine['usd']:,.0f} for "
        f"{machine['gpu_hours']:,.0f} GPU-hours in {hours:,.0f} hours, at ${machine['usd_per_gpu_hour']:.2f} per "
        f"GPU-hour ({machine['price_of']}) and the same MFU"
    )
