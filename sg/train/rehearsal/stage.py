"""Two optimiser steps of a stage without weights: peak memory of a device, operations, and traffic."""

import contextlib
import gc
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker, _FSDPRefType
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from sg.models.student import Student
from sg.train.config import StageConfig, TrainerConfig, micro_batches
from sg.train.flops import training_flops
from sg.train.module import StageModule
from sg.train.rehearsal.fakes import Traffic, emptied, fake_team, fuse_dropout, without_values
from sg.train.strategy import devices_of, shard

STEPS = 2
"""The first one counts operations and traffic, the second one, which has the optimiser's moments, memory.

The counter splits some operators, such as the derivative of SiLU, into smaller ones with more temporary tensors.
"""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one device needs for a stage.

    Attributes:
        memory: bytes by kind at the moment when their sum is largest: `weights`, `gradients`, `optimiser`,
            `activations` (with gathered weights and everything temporary).
        flops: operations of one micro-batch, counted; with those that gradient checkpointing repeats.
        formula_flops: operations of one micro-batch by the formula of `sg.train.flops`.
        traffic: bytes that the device receives in one micro-batch: `gather` and `reduce`.
        trained: number of weights that are trained, over all devices.
    """

    memory: Mapping[str, int]
    flops: float
    formula_flops: float
    traffic: Mapping[str, float]
    trained: int

    @property
    def peak(self) -> int:
        """Peak memory in bytes."""
        return sum(self.memory.values())


KINDS = {
    "Parameter": "weights", "Buffer": "weights", "Sharded Param": "weights",
    "Inputs": "weights", "Gradient": "gradients",
    "Sharded Grad": "gradients", "Unsharded Grad": "gradients", "OptState": "optimiser", "Optstate": "optimiser",
}  # fmt: skip
"""Kinds of memory by PyTorch's names; all others are activations."""


def rehearse_stage(stage: StageConfig, trainer: TrainerConfig, blank: Callable[[], Student]) -> Rehearsal:
    """Train the stage for two steps of one micro-batch each, as the first of `trainer.world_size` processes.

    DDP's wrapper waits for real processes. Without it, gradients are kept as DDP keeps them, and its traffic is added.

    Args:
        blank: makes the student on the meta device.
    """
    student = blank()
    network: nn.Module = StageModule(student, stage, STEPS, machine=trainer).network
    if trainer.precision == "bf16-true":  # as Lightning does
        network.to(torch.bfloat16)
    fuse_dropout(network)
    with fake_team(trainer), without_values():
        emptied(network, student.module)
        if trainer.shards:
            shard(network, student, devices_of(trainer, "cpu"), trainer.precision)
        learning = [value for value in network.parameters() if value.requires_grad]
        # The tracker counts the state of the other implementations wrongly.
        optimizer = torch.optim.AdamW(learning, lr=stage.learning_rate, foreach=False)
        typical, samples = stage.typical, micro_batches(stage, trainer.world_size)[0]
        batch = student.blank_batch(samples, typical.text_tokens, typical.answer_tokens, stage.largest_clip)
        tracker, traffic, counter = _tracker(network, optimizer), Traffic(trainer.world_size), _counter()
        gc.collect()
        gc.freeze()  # so that the tracker collects only what the steps leave
        with tracker:
            for step in range(STEPS):
                tracker.reset_mod_stats()  # it takes one pass at a time; the peak stays
                with contextlib.ExitStack() as counted:
                    if not step:
                        counted.enter_context(counter)
                        counted.enter_context(traffic)
                    with _autocast(trainer):
                        loss = network(batch)
                    loss.backward()
                optimizer.step()
                if not step:
                    tracker.know_moments(optimizer)
                optimizer.zero_grad(set_to_none=trainer.shards or trainer.world_size == 1)  # DDP keeps its buckets
        size = student.measure(batch)
        formula = training_flops(student.size, stage, size.positions, size.supervised, size.visual_tokens, size.frames)
        if not trainer.shards:
            traffic.add_gradients(learning)
        trained = sum(value.numel() for value in learning)
    gc.unfreeze()
    return Rehearsal(_by_kind(tracker), counter.get_total_flops(), formula, traffic.bytes, trained)


def _autocast(trainer: TrainerConfig) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if trainer.precision == "bf16-mixed" else contextlib.nullcontext()


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False)


class _PeakOnly:
    """Peaks of single modules are not needed; to keep them takes most of a tracker's time.

    Training does not need tensors that only a cycle of references still holds, so they are collected before a peak
    counts. Peaks that differ by less than 1 % are one. Before the moments are known none counts: to collect takes a
    fifth of the time.
    """

    _knows_moments = False
    _curr_mem_snap: dict[Any, dict[str, int]]
    _peak_mem: dict[Any, int]
    _peak_mem_snap: dict[Any, dict[str, int]]
    _track_optimizer_states: Callable[[Any, torch.optim.Optimizer], None]
    _moments: Any

    def _update_peak_stats(self, peak_state: Any) -> None:
        if not self._knows_moments:
            return
        for device, snapshot in list(self._curr_mem_snap.items()):
            if 1.01 * self._peak_mem.get(device, 0) >= snapshot["Total"]:
                continue
            gc.collect()
            if self._peak_mem.get(device, 0) < snapshot["Total"]:
                self._peak_mem[device] = snapshot["Total"]
                self._peak_mem_snap[device] = dict(snapshot)

    def know_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """From here on the moments are the optimiser's, and the peak is that of what follows."""
        self._track_optimizer_states(self._moments, optimizer)
        self._peak_mem.clear()
        self._peak_mem_snap.clear()
        self._knows_moments = True


class _ShardedTracker(_PeakOnly, FSDPMemTracker):  # type: ignore[no-untyped-call]  # PyTorch's
    _moments = _FSDPRefType.OPT


class _WholeTracker(_PeakOnly, MemTracker):  # type: ignore[no-untyped-call]  # PyTorch's
    _moments = _MemRefType.OPT


def _tracker(network: nn.Module, optimizer: torch.optim.Optimizer) -> _ShardedTracker | _WholeTracker:
    if isinstance(network, FSDPModule):
        sharded = _ShardedTracker(network, optimizer)
        sharded.track_inputs(tuple(value for value in network.parameters() if not isinstance(value, DTensor)))
        return sharded
    tracker = _WholeTracker()
    for value in network.parameters():
        if not value.requires_grad:  # the tracker would ask frozen weights for their gradients
            tracker._param_to_grad_hook_handles[value] = (
                RemovableHandle(OrderedDict()),
                RemovableHandle(OrderedDict()),
            )
    tracker.track_external(network, optimizer)
    return tracker


def _by_kind(tracker: MemTracker) -> dict[str, int]:
    found = dict.fromkeys((*KINDS.values(), "activations"), 0)
    for device, snapshot in tracker.get_tracker_snapshot("peak").items():
        for kind, count in snapshot.items() if device.type == "cpu" else ():
            name = getattr(kind, "value", kind)
            if name != "Total":
                found[KINDS.get(name, "activations")] += int(count)
    return found
