"""Estimated cost of a run before its data and weights exist: operations, GPU-hours, memory, disk.

Sizes of samples are those that the stages and their sources call typical. Operations are counted as in
`sg.train.flops`. Memory and times are estimates: within a quarter for the parts that dominate, the weights and what
the optimiser keeps of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sg.artefacts.arms import INSTRUCT_STEPS
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, VISION
from sg.study.config import TrainConfig
from sg.study.core_counts import caption_draws
from sg.study.inputs import demo_dialogs
from sg.train.config import DialogSource, StageConfig, TrainerConfig, micro_batches, num_steps
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
    trained = _trained_weights(size, stage)
    per_weight = 6 if config.trainer.precision == "bf16-true" else 12
    return StageEstimate(
        flops=flops,
        memory=stage_memory(config, size, stage),
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


def _trained_weights(size: ModelSize, stage: StageConfig) -> float:
    """Number of trained weights of a stage."""
    weights = {
        CONNECTOR: size.connector_weights, LANGUAGE_MODEL: size.language_model_weights, VISION: size.tower_weights,
    }  # fmt: skip
    trained = float(sum(weights[part] for part in stage.trains_whole))
    return trained + (size.adapter_weights(stage.lora.rank) if stage.has_adapters else 0)


def stage_memory(config: TrainConfig, size: ModelSize, stage: StageConfig) -> float:
    """Bytes per device: weights, gradients, the optimiser's two moments, and the activations of a micro-batch.

    A trained float32 weight takes 16 bytes: itself, its gradient, and two moments.
    """
    trainer = config.trainer
    halves = trainer.precision != "32-true"
    own_type = size.weight_bytes
    trained = _trained_weights(size, stage)
    adapters = size.adapter_weights(stage.lora.rank) if stage.has_adapters else 0
    frozen = size.language_model_weights + size.connector_weights - (trained - adapters)
    layer = size.linear_weights / size.layers
    if trainer.precision == "bf16-true":
        state, frozen_bytes, copies = 8 * trained, 2 * frozen, 0.0
    elif trainer.shards:  # Shards are float32; two layers and the embedding tables are gathered at a time.
        gathered = 2 * layer + size.language_model_weights - size.linear_weights
        state, frozen_bytes, copies = 16 * trained, 4 * frozen, (2 if halves else 4) * gathered
    else:  # Autocast keeps a bfloat16 copy of trained weights.
        frozen_type = 0.5 if stage.has_adapters and stage.peft == "qlora" else own_type
        state, frozen_bytes, copies = 16 * trained, frozen_type * frozen, (2 if halves else 0) * trained
    spread = trainer.world_size if trainer.shards else 1
    weights = (state + frozen_bytes + own_type * size.tower_weights) / spread + copies
    return weights + _activations(config, size, stage, 2 if halves else 4)


def _activations(config: TrainConfig, size: ModelSize, stage: StageConfig, value_bytes: int) -> float:
    samples = micro_batches(stage, config.trainer.world_size)[0]
    positions = samples * (stage.typical.text_tokens + size.visual_tokens(stage.largest_clip))
    inside = positions * (10 * size.hidden + 3 * size.intermediate) * value_bytes
    between = size.layers * positions * size.hidden * value_bytes
    layers = between + inside if config.trainer.gradient_checkpointing else size.layers * inside
    # Logits in the type of the products and in float32, and the gradient of the latter.
    return layers + samples * stage.typical.answer_tokens * size.vocabulary * (value_bytes + 8)
