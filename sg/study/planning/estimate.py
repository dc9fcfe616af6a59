"""Estimated cost of a run before its data and weights exist: operations, GPU-hours, memory, disk.

Sizes of samples are those that the stages and their sources call typical. Operations are counted as in
`sg.train.flops`, memory in `memory.py`.
"""

from dataclasses import dataclass

from sg.artefacts.arms import INSTRUCT_STEPS
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, VISION
from sg.study.config import TrainConfig
from sg.study.core_counts import caption_draws
from sg.study.inputs import demo_dialogs
from sg.study.planning.memory import stage_memory, trained_weights
from sg.train.config import DialogSource, StageConfig, TrainerConfig, num_steps
from sg.train.flops import PEAK_TFLOPS, training_flops

# Assumed if neither the config nor this machine names the GPU.
USUAL_GPU = "H100"


@dataclass(frozen=True, slots=True)
class Medium:
    """Similar samples of a stage: their number, and the frames of each of their clips."""

    samples: float
    frames: int


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """Cost of one stage: operations, bytes per device, and bytes on disk of its checkpoint and of a resume point."""

    flops: float
    memory: float
    checkpoint: float
    resume: float


@dataclass(frozen=True, slots=True)
class CacheEstimate:
    """Cost of the visual tokens: clips, bytes on disk, operations of the tower."""

    clips: float
    size: float
    flops: float


def stage_media(stage: StageConfig, draws: float) -> list[Medium]:
    """The clips of `draws` samples of a stage: its typical clip, or its sources in proportion to their sizes."""
    known = [(source.samples or 0) * source.weight for source in stage.sources]
    if not sum(known):
        return [Medium(draws, stage.typical.frames)]
    return [
        Medium(draws * share / sum(known) * medium.samples / (source.samples or 1), medium.frames)
        for source, share in zip(stage.sources, known, strict=True)
        if share
        for medium in _source_media(source)
    ]


def _source_media(source: DialogSource) -> list[Medium]:
    """The clips of one pass over a source."""
    mixed = [Medium(samples, frames) for frames, samples in source.mixed_frames.items()]
    return mixed or [Medium(source.samples or 0, source.frames)]


def expected_samples(stage: StageConfig) -> int | None:
    """Samples of an epoch according to the settings of the sources; None if a source does not name its size."""
    if not stage.sources or any(source.samples is None for source in stage.sources):
        return None
    total = sum(round((source.samples or 0) * source.weight) for source in stage.sources)
    return total if stage.max_samples is None else min(total, stage.max_samples)


def expected_draws(config: TrainConfig) -> list[tuple[StageConfig, int | None]]:
    """(stage, samples) of every stage before the data exists; None if the number depends on the data."""
    recipe, captions = config.stage, caption_draws(config, config.data.expected_captions)
    draws: list[tuple[StageConfig, int | None]] = []
    for stage in recipe.stages:
        if stage is recipe.caption:
            draws.append((stage, 0 if config.data.control == INSTRUCT_STEPS else captions))
            continue
        dialogs = demo_dialogs(config, stage) or expected_samples(stage)
        count = None if dialogs is None else dialogs * stage.epochs
        if stage is recipe.instruct and config.data.control == INSTRUCT_STEPS:
            steps = None if captions is None else num_steps(captions, recipe.caption.batch_size)
            count = None if count is None or steps is None else count + steps * stage.batch_size
        draws.append((stage, count))
    return draws


def estimate_stage(config: TrainConfig, size: ModelSize, stage: StageConfig, draws: float) -> StageEstimate:
    """The cost of `draws` samples of `stage`."""
    flops = 0.0
    for medium in stage_media(stage, draws):
        visual = size.visual_tokens(medium.frames)
        positions = stage.typical.text_tokens + visual
        is_cached = config.trainer.visual_token_cache and VISION not in config.stage.trained
        frames = 0 if is_cached else min(medium.frames, size.max_frames)
        one = training_flops(size, stage, [positions], stage.typical.answer_tokens, visual, frames)
        flops += medium.samples * one
    trained = trained_weights(size, stage)
    per_weight = 6 if config.trainer.precision == "bf16-true" else 12
    return StageEstimate(
        flops=flops,
        memory=stage_memory(config.trainer, size, stage),
        checkpoint=size.weights * size.weight_bytes,
        resume=trained * per_weight,
    )


def estimate_cache(config: TrainConfig, size: ModelSize, captioned: float) -> CacheEstimate:
    """The visual tokens of `captioned` clips and of all media of the stages' sources, whatever their weights."""
    media = [Medium(captioned, config.stage.caption.typical.frames)]
    for stage in config.stage.others:
        media += [medium for source in stage.sources for medium in _source_media(source) if medium.frames]
    token_bytes = size.tower_bytes if CONNECTOR in config.stage.trained and size.tower_bytes else size.token_bytes
    return CacheEstimate(
        clips=sum(medium.samples for medium in media),
        size=sum(medium.samples * size.visual_tokens(medium.frames) for medium in media) * token_bytes,
        flops=sum(medium.samples * size.tower_flops(medium.frames) for medium in media),
    )


def peak_tflops(trainer: TrainerConfig) -> float:
    """Peak of one device that the plan assumes, in TFLOP/s."""
    if trainer.peak_tflops is not None:
        return trainer.peak_tflops
    import torch

    from sg.train.flops import device_peak_tflops

    here = device_peak_tflops(trainer.accelerator, None) if torch.cuda.is_available() else None
    return here or PEAK_TFLOPS[USUAL_GPU]


def gpu_hours(flops: float, trainer: TrainerConfig) -> float:
    """Hours of one device at the share of its peak that the plan assumes."""
    return flops / (peak_tflops(trainer) * 1e12 * trainer.expected_mfu) / 3600
