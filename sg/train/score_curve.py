"""Scores during training: a fixed sample of questions, asked with the weights of the moment."""

import contextlib
import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from sg.models.student import Student

FIXED = ("step", "samples")
Asking = Callable[[Student], Mapping[str, float]]
"""Asks the sample of questions; returns scores by name. It may change modes, but no weight."""


def scored_steps(every: float, total: int) -> frozenset[int]:
    """The steps after which a stage of `total` steps is scored: every share `every` of it, such as 0.25."""
    return frozenset(max(1, round(number * every * total)) for number in range(1, int(1 / every + 1e-9) + 1))


class ScoreCurve(Callback):
    """Asks the sample after every share `every` of the steps; appends a row to `path`, and reports it.

    Training continues as if nothing had been asked: modes and random numbers are restored. A resumed stage drops the
    rows that it will repeat. With several devices the leading process asks, and the others wait.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        every: float,
        student: Student,
        ask: Asking,
        report: Callable[[Mapping[str, float]], None],
        samples: Callable[[], float],
    ) -> None:
        self.path, self.stage, self.every = path, stage, every
        self.student, self.ask, self.report, self.samples = student, ask, report, samples

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Cut the curve to the step from which training resumes."""
        self._steps = scored_steps(self.every, int(trainer.estimated_stepping_batches))
        self._scored = trainer.global_step
        if trainer.is_global_zero and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as stream:
                header, *rows = [*csv.reader(stream)] or [[]]
            whole = [row for row in rows if len(row) == len(header) and row[0].isdecimal()]
            kept = [row for row in whole if int(row[0]) <= self._scored]
            with self.path.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([header, *kept] if header else [])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask if this batch ended a step after which the stage is scored."""
        step = trainer.global_step
        if step == self._scored or step not in self._steps:
            return
        self._scored = step
        if not trainer.is_global_zero:
            return
        with undisturbed(self.student.module), trainer.precision_plugin.val_step_context():
            scores = self.ask(self.student)
        self._write([step, int(self.samples())], scores)
        axis = {f"train/{self.stage}/samples": self.samples()}
        self.report(axis | {f"evaluate/{self.stage}/{name}": value for name, value in scores.items()})

    def _write(self, fixed: list[int], scores: Mapping[str, float]) -> None:
        is_new = not self.path.is_file() or not self.path.stat().st_size
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            if is_new:
                writer.writerow([*FIXED, *scores])
            writer.writerow([*fixed, *map(repr, scores.values())])


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which modes and PyTorch's random numbers are those of before."""
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]
