"""Which stages a run needs, what each trains on, and the fingerprints that let runs share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.captions import Captions, read_captions
from sg.artefacts.checkpoint import stage_folder
from sg.artefacts.dialogs import dialogs_hash
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import Manifest, read_manifest
from sg.artefacts.result import EQUAL_STEPS, RANDOM
from sg.core.fingerprints import fingerprint, text_seed
from sg.study.config import TrainConfig
from sg.study.core_counts import caption_draws, num_core_videos
from sg.study.inputs import Inputs
from sg.train.config import StageConfig, weight_settings
from sg.train.mixture import check_clip_names, mixed_items, present_items
from sg.train.samples import TrainingItem, caption_items
from sg.train.stage import StageJob


@dataclass(frozen=True, slots=True)
class CaptionData:
    """The captions that a run trains on: the core of its scale, or a random draw of that size.

    Attributes:
        scale: the scale as a number; `num_draws`: samples that the stage sees over all its epochs.
        items: one sample per captioned video of the core.
    """

    scale: int
    num_draws: int
    items: list[TrainingItem]


def caption_data(config: TrainConfig, inputs: Inputs) -> CaptionData:
    """The samples of the caption stage at the run's scale; none at scale 0.

    `data.control=random` draws videos without the merge forest, nested over the scales of one seed.
    """
    captions, manifest = read_captions(inputs.captions), read_manifest(inputs.manifest)
    usable = [video_id for video_id in manifest.usable().video_ids if video_id in captions]
    scale, num_videos = num_core_videos(config, str(config.data.scale), len(usable))
    if num_videos == 0:
        return CaptionData(0, 0, [])
    if config.data.control == RANDOM:
        core = sorted(usable, key=lambda video_id: text_seed("random control", config.seed, video_id))[:num_videos]
    elif num_videos == len(usable):
        core = usable
    else:
        core = read_forest(inputs.forest).core(num_videos)
    items = _items(config, core, captions, manifest)
    draws = caption_draws(config, len(usable)) if config.data.control == EQUAL_STEPS else None
    return CaptionData(scale, len(items) * config.stage.caption.epochs if draws is None else draws, items)


def _items(config: TrainConfig, core: Sequence[str], captions: Captions, manifest: Manifest) -> list[TrainingItem]:
    paths = {record.video_id: record.path for record in manifest.usable().records()}
    requests = config.stage.caption.requests
    return caption_items(sorted(core), captions, paths, Path(config.data.videos), requests, config.data.token_source)


def stage_jobs(config: TrainConfig, inputs: Inputs, caption: CaptionData, media_needed: bool = True) -> list[StageJob]:
    """The stages of a run in order: align, caption (unless the scale is 0), instruct; each starts from the last.

    Samples whose media are not there are left out, as far as `stage.max_missing` allows.

    Raises:
        MissingInputError: more media are missing than that (unless not `media_needed`: for a plan).
        DataError: two sources name different media alike.
    """
    recipe = config.stage
    base = inputs.base_model
    samples = {stage.name: stage_items(config, stage, caption) for stage in recipe.stages}
    check_clip_names([item for items in samples.values() for item in items])
    jobs: list[StageJob] = []
    for stage in recipe.stages:
        items = present_items(stage, samples[stage.name], recipe.max_missing) if media_needed else samples[stage.name]
        if stage is recipe.caption and not caption.items:
            continue
        draws = caption.num_draws if stage is recipe.caption else None
        if draws is not None and len(items) < len(caption.items):
            draws = draws * len(items) // len(caption.items)
        jobs.append(_job(config, stage, items, jobs[-1] if jobs else None, base, draws))
    return jobs


def stage_items(config: TrainConfig, stage: StageConfig, caption: CaptionData) -> list[TrainingItem]:
    """All samples of an epoch of `stage`, those without their media too."""
    return caption.items if stage is config.stage.caption else mixed_items(stage, config.seed)


def _job(
    config: TrainConfig,
    stage: StageConfig,
    items: list[TrainingItem],
    parent: StageJob | None,
    base_model: Mapping[str, Any],
    num_draws: int | None = None,
) -> StageJob:
    draws = len(items) * stage.epochs if num_draws is None else num_draws
    settings = {
        "stage": weight_settings(stage),
        "data": dialogs_hash(item.dialog for item in items),
        "draws": draws,
        "seed": config.seed,
        "precision": config.trainer.precision,
        "parent": None if parent is None else parent.fingerprint,
        "model": dict(base_model),
    }
    name = fingerprint(settings)
    return StageJob(
        stage=stage,
        items=items,
        num_draws=draws,
        seed=config.seed,
        fingerprint=name,
        parent=None if parent is None else parent.fingerprint,
        folder=stage_folder(config.stages_folder, stage.name, name),
        settings=settings,
    )
