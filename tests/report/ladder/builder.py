"""Synthetic studies of a ladder: models of several sizes, or choices, with answers and held-out losses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sg.artefacts.held_out import CaptionLoss, mean_loss, write_caption_losses
from sg.artefacts.result import STUDY_FILE, read_result, write_result
from sg.core.files import write_record
from sg.core.identity import identity, made_by

from ..study_builder import World

WEIGHTS = {"narrow": 77_000, "tiny": 250_000, "wide": 523_000, "huge": 1_500_000}
SCALES = (50_000, 100_000, 200_000, 530_000)
CAPTIONS = 150


def law(weights: float, captions: float) -> float:
    """E 1, alpha .5, beta .4 around 250,000 weights and 2,000 captions."""
    return 1.0 + 0.25 * (250_000 / weights) ** 0.5 + 0.3 * (2_000 / captions) ** 0.4


def losses(level: float, run: tuple[int, ...], tokens_of: int = 7) -> list[CaptionLoss]:
    """Losses around `level` nats per token; captions differ in length and difficulty, alike for all runs."""
    shared, own = np.random.default_rng(tokens_of), np.random.default_rng(run)
    tokens, difficulty = shared.integers(8, 40, CAPTIONS), shared.normal(0, 0.3, CAPTIONS)
    noise = own.normal(0, 0.05, CAPTIONS) + own.normal(0, 0.004)
    values = tokens * (level + difficulty + noise)
    return [
        CaptionLoss(f"v{at:03d}", "demo", int(count), float(nats))
        for at, (count, nats) in enumerate(zip(tokens, values, strict=True))
    ]


def write_member(
    folder: Path,
    model: str = "tiny",
    curator: str = "tome",
    quality: float = 0.0,
    scales: tuple[int, ...] = SCALES,
    seeds: tuple[int, ...] = (0, 1, 2),
    control: bool = False,
    **settings: Any,
) -> Path:
    """One study; `quality` lowers its losses and raises its accuracy. `settings` replace those of `study.json`."""
    number = sum(map(ord, model + curator))
    world = World(folder, videos=60, probes=False)
    known: dict[str, Any] = {"curator": {"class": curator}, "model": {"name": model}, "stage": {}, "seed": 0} | settings
    arms: list[tuple[int, str | None]] = [(0, None), *((scale, None) for scale in scales)]
    arms += [(scales[0], "equal_steps")] if control else []
    for scale, kind in arms:
        for seed in seeds:
            gain = 0.0 if scale == 0 else 0.5 + quality + np.log(scale / 50_000) / 3
            path = world.run(scale, seed, kind, gain=gain, steps=331 if kind else None)
            level = 2.2 if scale == 0 else law(WEIGHTS[model], scale / 100) - 0.1 * quality
            rows = losses(level, (number, seed, scale, len(kind or "")))
            write_caption_losses(path, rows, "made")
            config = {"model": {"name": model}, "curator": {"name": curator}}
            changed = replace(read_result(path), held_out=mean_loss(rows), config=config, weights=WEIGHTS[model])
            write_result(path, changed)
    inputs = {"held_out": "captions", "model": f"content of {model}"}
    write_record(folder / STUDY_FILE, made_by(identity("study_data", settings=known, inputs=inputs, version=1)))
    return folder
