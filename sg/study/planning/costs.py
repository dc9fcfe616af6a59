"""Costs of a study, summed over its runs, as numbers and as text of its plan."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.study.config import TrainConfig
from sg.study.planning.captions import captioned_clips
from sg.train.config import StageConfig

if TYPE_CHECKING:
    from sg.models.sizes import ModelSize
    from sg.study.planning.estimate import CacheEstimate, StageEstimate


class Costs:
    """Sums the costs of the stages of a plan that are trained; all results are empty if the size of a model is None.

    `sizes` are by the name of the model; `size` is that of the first.
    """

    def __init__(self, config: TrainConfig, sizes: Mapping[str, ModelSize | None]) -> None:
        self.config, self.sizes, self.size = config, sizes, sizes[config.model.name]
        self.flops = self.checkpoints = 0.0
        self.by_stage: dict[str, tuple[ModelSize, StageConfig, StageEstimate]] = {}

    def of_stage(
        self, config: TrainConfig, stage: StageConfig, samples: int | None, is_trained: bool
    ) -> dict[str, float | None]:
        """Return FLOPs and GPU-hours of a stage, and add a stage that is trained to the totals.

        The numbers are None if they are not known, and 0 for a stage that is not trained.
        """
        size = self.sizes[config.model.name]
        if size is None or samples is None:
            return {"flops": None, "gpu_hours": None}
        if not is_trained:
            return {"flops": 0.0, "gpu_hours": 0.0}
        from sg.study.planning.estimate import estimate_stage, gpu_hours

        estimate = estimate_stage(config, size, stage, samples)
        self.flops += estimate.flops
        self.checkpoints += estimate.checkpoint
        name = stage.name if len(self.sizes) == 1 else f"{config.model.name} {stage.name}"
        self.by_stage.setdefault(name, (size, stage, estimate))
        return {"flops": estimate.flops, "gpu_hours": gpu_hours(estimate.flops, config.trainer)}

    @staticmethod
    def cells(row: Mapping[str, Any]) -> list[str]:
        """Return the numbers of `of_stage` as two cells of a table."""
        if row["flops"] is None:
            return ["?", "?"]
        return [f"{row['flops']:.2e}", f"{row['gpu_hours']:,.1f}"] if row["flops"] else ["", ""]

    def totals(self, configs: Sequence[TrainConfig]) -> dict[str, Any] | None:
        """Return FLOPs, GPU-hours, memory and disk of all runs; None if there is nothing to train or no known size."""
        if None in self.sizes.values() or not self.by_stage:
            return None
        from sg.study.planning.estimate import gpu_hours, peak_tflops
        from sg.study.planning.machines import cheapest_machine

        config, trainer = self.config, self.config.trainer
        caches = self._caches(configs) if trainer.visual_token_cache else []
        cached = sum(cache.size for cache in caches)
        total = self.flops + sum(cache.flops for cache in caches)
        # Twice: the next resume checkpoint is complete before the last one is deleted.
        resume = 2 * max(one.resume for *_, one in self.by_stage.values())
        visual_tokens = None
        if caches:
            flops, clips = sum(cache.flops for cache in caches), sum(cache.clips for cache in caches)
            hours = gpu_hours(flops, trainer)
            visual_tokens = {"clips": clips, "flops": flops, "gpu_hours": hours, "bytes": cached}
        return {
            "flops": total,
            "gpu_hours": gpu_hours(total, trainer),
            "usd": None if config.usd_per_hour is None else config.usd_per_hour * gpu_hours(total, trainer),
            "gpus": trainer.world_size,
            "tflops_per_gpu": peak_tflops(trainer),
            "mfu": trainer.expected_mfu,
            "visual_tokens": visual_tokens,
            "memory_bytes": {name: one.memory for name, (*_, one) in self.by_stage.items()},
            "machine": cheapest_machine(trainer, [(size, stage) for size, stage, _ in self.by_stage.values()], total),
            "checkpoint_bytes": self.checkpoints,
            "resume_bytes": resume,
            "disk_bytes": self.checkpoints + resume + cached,
            "free_bytes": _free(Path(config.paths.work)),
        }

    def _caches(self, configs: Sequence[TrainConfig]) -> list[CacheEstimate]:
        """The caches of visual tokens: models with the same tower and merging share one."""
        from sg.models.student import STUDENTS
        from sg.study.planning.estimate import estimate_cache

        by_cache: dict[str, tuple[TrainConfig, ModelSize]] = {}
        for config in configs:
            size = self.sizes[config.model.name]
            kept = STUDENTS.of(config.model).cache(config.model, config.stage.trained)
            if size is not None and kept is not None:
                by_cache.setdefault(kept.identity.name, (config, size))
        return [estimate_cache(config, size, captioned_clips(configs)) for config, size in by_cache.values()]

    def lines(self, totals: Mapping[str, Any] | None) -> list[str]:
        """Return the record of `totals` as lines of text."""
        if totals is None:
            return []
        from sg.study.planning.machines import machine_text
        from sg.train.data.visual_tokens import readable_size

        lines = []
        cache, hours = totals["visual_tokens"], totals["gpu_hours"]
        if cache is not None:
            lines.append(
                f"visual tokens, once: {cache['clips']:,.0f} clips, {cache['flops']:.2e} FLOPs, "
                f"{cache['gpu_hours']:,.0f} GPU-hours, {readable_size(cache['bytes'])}"
            )
        dollars = "" if totals["usd"] is None else f" (${totals['usd']:,.0f})"
        speed = f"{totals['tflops_per_gpu']:,.0f} TFLOP/s and {100 * totals['mfu']:.0f} % MFU"
        lines.append(
            f"in all: {totals['flops']:.2e} FLOPs, {hours:,.0f} GPU-hours{dollars}, "
            f"{hours / totals['gpus']:,.0f} hours on {totals['gpus']} GPUs (at {speed}: trainer.peak_tflops, "
            "trainer.expected_mfu); evaluation not counted"
        )
        memory = ", ".join(f"{name} {readable_size(size)}" for name, size in totals["memory_bytes"].items())
        lines.append(f"memory per GPU, about: {memory}")
        lines.append(machine_text(totals["machine"]))
        lines.append(
            f"disk: {readable_size(totals['disk_bytes'])} ({readable_size(cache['bytes'] if cache else 0.0)} visual "
            f"tokens, {readable_size(totals['checkpoint_bytes'])} checkpoints, "
            f"{readable_size(totals['resume_bytes'])} while a stage is trained); "
            f"free in {self.config.paths.work}: {readable_size(totals['free_bytes'])}"
        )
        return lines


def _free(folder: Path) -> int:
    """Free bytes on the disk of `folder`, which may not exist yet."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free
