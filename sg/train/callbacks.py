"""Callbacks of training: the loss curve, the progress bar, and the numbers for the dashboard."""

import csv
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from sg.core.progress import Progress

COLUMNS = ("step", "samples", "tokens", "loss", "learning_rate", "seconds")


@dataclass
class Work:
    """Work of optimiser steps: samples, tokens (text ids and visual tokens), operations, seconds."""

    samples: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0
    seconds: float = 0.0


class LossCurve(Callback):
    """Appends one row per optimiser step to `loss.csv`; a resumed stage drops the rows that it will repeat.

    The loss of a step is that of its global batch, over all devices. The learning rate is that of the optimiser's first
    group, the weights that are trained without adapters. `measure` returns the work in a micro-batch. `report`
    receives the numbers every `report_every` steps and at the end, with samples and tokens per second since the last
    report and, if `peak_flops` of all devices is known, the MFU.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        report: Callable[[Mapping[str, float]], None],
        measure: Callable[[dict[str, Any]], Work],
        peak_flops: float | None = None,
        report_every: int = 10,
    ) -> None:
        self.path, self.stage, self.report, self.report_every = path, stage, report, report_every
        self.measure, self.peak_flops = measure, peak_flops
        self.done, self._reported, self._step = Work(), Work(), Work()
        self.seconds_before = 0.0
        self._rate = 0.0
        self._loss: Tensor | None = None
        self._bar: Progress | None = None

    def state_dict(self) -> dict[str, Any]:
        """Counters, for a resumed stage."""
        return asdict(self.done) | {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook on resume."""
        self.done, self._reported = Work(**state_dict), Work(**state_dict)
        self.seconds_before = state_dict["seconds"]

    def samples(self) -> float:
        """Samples seen so far, over all devices."""
        return self.done.samples

    @property
    def seconds(self) -> float:
        """Wall time of training so far, over all sessions."""
        return self.seconds_before + time.monotonic() - getattr(self, "_started", time.monotonic())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar, and cut the curve to the step from which training resumes."""
        self._started = time.monotonic()
        self._total = int(trainer.estimated_stepping_batches)
        if trainer.is_global_zero:
            keep_rows(self.path, trainer.global_step)
            self._bar = Progress(f"train {self.stage}", self._total, "steps", done_before=trainer.global_step)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Keep the learning rate of this step: before `on_train_batch_end`, Lightning sets that of the next step."""
        self._rate = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch, and write a row if it ended an optimiser step."""
        if batch["share"] > 0:  # repetitions that fill the last step are not counted
            work = self.measure(batch)
            self._step.samples += work.samples
            self._step.tokens += work.tokens
            self._step.flops += work.flops
        part = trainer.callback_metrics["loss"]
        self._loss = part if self._loss is None else self._loss + part
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return
        loss = self._end_step(trainer)
        if not trainer.is_global_zero:
            return
        step, rate = trainer.global_step, self._rate
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            counts = [int(self.done.samples), int(self.done.tokens)]
            csv.writer(stream).writerow([step, *counts, repr(loss), repr(rate), f"{self.seconds:.3f}"])
        if self._bar is not None:
            self._bar.advance(note=f"loss {loss:.3f}")
        if step % self.report_every == 0 or step == self._total:
            self._report(loss, rate)

    def _end_step(self, trainer: Trainer) -> float:
        """Add the step's work on all devices to the total, and return the step's loss."""
        assert self._loss is not None
        work = self._step
        loss, counts = self._loss.double(), (work.samples, work.tokens, work.flops)
        if trainer.world_size > 1:
            own = torch.stack([loss, *(loss.new_tensor(count) for count in counts)])
            loss, *totals = trainer.strategy.reduce(own, reduce_op="sum").unbind()
            counts = tuple(float(total) for total in totals)  # type: ignore[assignment]
        self.done = Work(
            self.done.samples + counts[0], self.done.tokens + counts[1], self.done.flops + counts[2], self.seconds
        )
        self._loss, self._step = None, Work()
        return float(loss)

    def _report(self, loss: float, rate: float) -> None:
        before, done, prefix = self._reported, self.done, f"train/{self.stage}"
        elapsed = max(done.seconds - before.seconds, 1e-9)
        values = {
            f"{prefix}/loss": loss,
            f"{prefix}/learning_rate": rate,
            f"{prefix}/samples": done.samples,
            f"{prefix}/tokens": done.tokens,
            "speed/samples_per_s": (done.samples - before.samples) / elapsed,
            "speed/tokens_per_s": (done.tokens - before.tokens) / elapsed,
            "speed/tflops_per_s": (done.flops - before.flops) / elapsed / 1e12,
        }
        if self.peak_flops is not None:
            values["speed/mfu"] = (done.flops - before.flops) / elapsed / self.peak_flops
        self._reported = done
        self.report(values)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


class OwnSignals(Callback):
    """Keeps the reaction of the process to SIGTERM: that of Lightning exits with code 0, and waits in a team."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning's hook, before it replaces the handler."""
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook, after it has replaced the handler; its teardown restores it once more."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


def keep_rows(path: Path, steps: int) -> None:
    """Cut the loss curve at `path` to its first `steps` steps, without damaged rows; a new one gets its header."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    rows = [line.split(",") for line in lines[1:]]
    kept = [row for row in rows if len(row) == len(COLUMNS) and _are_numbers(row) and int(row[0]) <= steps]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *kept])


def _are_numbers(row: list[str]) -> bool:
    try:
        for value in row:
            float(value)
    except ValueError:
        return False
    return row[0].isdecimal()


def read_losses(path: Path) -> list[float]:
    """The losses of a curve, one per step."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]
