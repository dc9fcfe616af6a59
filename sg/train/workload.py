"""The work in a collated micro-batch: samples, tokens, and floating-point operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.sizes import composite_size
from sg.models.chat_univi.splice import run_starts
from sg.models.chat_univi.text.special_ids import IGNORED_LABEL, PLACEHOLDER_ID
from sg.train.callbacks import Work
from sg.train.config import StageConfig
from sg.train.flops import training_flops


def workload(config: ChatUniViConfig, stage: StageConfig) -> Callable[[Mapping[str, Any]], Work]:
    """A function that measures a micro-batch of `collate`, with visual tokens or with frames."""
    merging, text, tower = config.merging, config.text_config.to_dict(), config.vision_config.to_dict()
    size = composite_size(text, tower, merging, config.vision_select_layer)

    def measure(batch: Mapping[str, Any]) -> Work:
        ids: Tensor = batch["input_ids"]
        text = (batch["attention_mask"] & (ids != PLACEHOLDER_ID)).sum(dim=1).tolist()
        runs = run_starts(ids).sum(dim=1).tolist()
        frames = list(batch.get("frame_counts", ()))
        visual = list(batch.get("visual_counts", [merging.num_tokens(count) for count in frames]))
        positions, start = [], 0
        for row, own_runs in zip(text, runs, strict=True):
            positions.append(row + sum(visual[start : start + own_runs]))
            start += own_runs
        supervised = int((batch["labels"][:, 1:] != IGNORED_LABEL).sum())
        flops = training_flops(size, stage, positions, supervised, sum(visual))
        return Work(len(ids), sum(positions), flops + sum(frames) * size.frame_flops)

    return measure
