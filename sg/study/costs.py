"""What a study will cost, added up over its runs and put into words for its plan."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sg.core.scales import parse_scale
from sg.study.config import TrainConfig
from sg.train.config import StageConfig

if TYPE_CHECKING:
    from sg.study.estimate import StageEstimate
    from sg.train.flops import ModelSize


class Costs:
    """Collects the stages of a plan that have to be trained; says nothing where the model's `size` is not known."""

    def __init__(self, config: TrainConfig, size: ModelSize | None) -> None:
        self.config, self.size = config, size
        self.flops = self.checkpoints = 0.0
        self.by_stage: dict[str, tuple[StageConfig, StageEstimate]] = {}

    def row(self, config: TrainConfig, stage: StageConfig, samples: int | None, is_trained: bool) -> list[str]:
        """The cells of a stage: operations and GPU-hours. A stage that has to be trained is added to the total."""
        if self.size is None:
            return []
        if samples is None or not is_trained:
            return ["?" if samples is None else ""] * 2
        from sg.study.estimate import estimate_stage, gpu_hours

        estimate = estimate_stage(config, self.size, stage, samples)
        self.flops += estimate.flops
        self.checkpoints += estimate.checkpoint
        self.by_stage.setdefault(stage.name, (stage, estimate))
        return [f"{estimate.flops:.2e}", f"{gpu_hours(estimate.flops, config.trainer):,.1f}"]

    def lines(self, configs: Sequence[TrainConfig]) -> list[str]:
        """Sums, memory, disk, and what they rest on, one a line."""
        if self.size is None or not self.by_stage:
            return []
        from sg.study.estimate import estimate_cache, gpu_hours, peak_tflops
        from sg.train.visual_tokens import readable_size

        config, trainer = self.config, self.config.trainer
        cache = estimate_cache(config, self.size, _captioned(configs)) if trainer.visual_token_cache else None
        total = self.flops + (cache.flops if cache else 0.0)
        hours = gpu_hours(total, trainer)
        lines = []
        if cache is not None:
            lines.append(
                f"visual tokens, once: {cache.clips:,.0f} clips, {cache.flops:.2e} FLOPs, "
                f"{gpu_hours(cache.flops, trainer):,.0f} GPU-hours, {readable_size(cache.size)}"
            )
        speed = f"{peak_tflops(trainer):,.0f} TFLOP/s and {100 * trainer.expected_mfu:.0f} % MFU"
        lines.append(
            f"in all: {total:.2e} FLOPs, {hours:,.0f} GPU-hours, {hours / trainer.devices:,.0f} hours on "
            f"{trainer.devices} GPUs (at {speed}: trainer.peak_tflops, trainer.expected_mfu); evaluation not counted"
        )
        memory = ", ".join(f"{name} {readable_size(one.memory)}" for name, (_, one) in self.by_stage.items())
        lines.append(f"memory per GPU, about: {memory}")
        resume = 2 * max(one.resume for _, one in self.by_stage.values())  # the next is whole before the last goes
        disk = self.checkpoints + resume + (cache.size if cache else 0.0)
        lines.append(
            f"disk: {readable_size(disk)} ({readable_size(cache.size if cache else 0.0)} visual tokens, "
            f"{readable_size(self.checkpoints)} checkpoints, {readable_size(resume)} while a stage is trained); "
            f"free in {config.paths.work}: {readable_size(_free(Path(config.paths.work)))}"
        )
        return lines


def _captioned(configs: Sequence[TrainConfig]) -> float:
    """Clips of the largest core of the runs."""
    clips: list[float] = [(parse_scale(str(run.data.scale)) or 0) * run.data.captions_per_k / 1000 for run in configs]
    return max(clips)


def _free(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free
