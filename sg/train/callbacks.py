"""What happens beside the training: the loss curve, the progress bar, the numbers for the dashboard."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from sg.core.progress import Progress

COLUMNS = ("step", "samples", "tokens", "loss", "learning_rate", "seconds")


class LossCurve(Callback):
    """Appends a row an optimiser step to `loss.csv`; a resumed stage drops the rows that it is going to repeat.

    The loss of a step is the mean over its micro-batches of this process. `rate_at` gives the learning rate of a step
    (0 first). `report` gets the numbers every `report_every` steps, with samples and tokens a second.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        rate_at: Callable[[int], float],
        report: Callable[[Mapping[str, float]], None],
        report_every: int = 10,
    ) -> None:
        self.path, self.stage, self.rate_at, self.report, self.report_every = path, stage, rate_at, report, report_every
        self.samples = self.tokens = 0
        self.seconds_before = 0.0
        self._losses: list[Tensor] = []
        self._bar: Progress | None = None

    def state_dict(self) -> dict[str, Any]:
        """Counters, for a resumed stage."""
        return {"samples": self.samples, "tokens": self.tokens, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook on resume."""
        self.samples, self.tokens = state_dict["samples"], state_dict["tokens"]
        self.seconds_before = state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """Wall time of training so far, over all sessions."""
        return self.seconds_before + time.monotonic() - getattr(self, "_started", time.monotonic())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar, and cut the curve back to the step that training goes on from."""
        self._started = time.monotonic()
        if trainer.is_global_zero:
            keep_rows(self.path, trainer.global_step)
            total = int(trainer.estimated_stepping_batches)
            self._bar = Progress(f"train {self.stage}", total, "steps", done_before=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; write a row when it ended an optimiser step."""
        self.samples += len(batch["input_ids"]) * trainer.world_size
        self.tokens += (int(batch["attention_mask"].sum()) + sum(batch.get("visual_counts", ()))) * trainer.world_size
        self._losses.append(trainer.callback_metrics["loss"])
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return
        loss = sum(float(loss) for loss in self._losses) / len(self._losses)
        self._losses.clear()
        if not trainer.is_global_zero:
            return
        step, rate = trainer.global_step, self.rate_at(trainer.global_step - 1)
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            row = [step, self.samples, self.tokens, repr(loss), repr(rate), f"{self.seconds:.3f}"]
            csv.writer(stream).writerow(row)
        if self._bar is not None:
            self._bar.advance(note=f"loss {loss:.3f}")
        if step % self.report_every == 0:
            self._report(loss, rate)

    def _report(self, loss: float, rate: float) -> None:
        elapsed = max(self.seconds, 1e-9)
        prefix = f"train/{self.stage}"
        self.report(
            {
                f"{prefix}/loss": loss,
                f"{prefix}/learning_rate": rate,
                f"{prefix}/samples": self.samples,
                f"{prefix}/tokens": self.tokens,
                "speed/samples_per_s": self.samples / elapsed,
                "speed/tokens_per_s": self.tokens / elapsed,
            }
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


def keep_rows(path: Path, steps: int) -> None:
    """Cut the loss curve at `path` back to its first `steps` steps; start it with its header when it is new."""
    rows = list(csv.reader(path.open(newline="", encoding="utf-8"))) if path.is_file() else []
    kept = [row for row in rows[1:] if len(row) == len(COLUMNS) and int(row[0]) <= steps]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *kept])


def read_losses(path: Path) -> list[float]:
    """The losses of a curve, one a step."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]
