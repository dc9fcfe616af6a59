"""Which stages a run needs, what each trains on, and the names by which runs share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.captions import read_captions
from sg.artefacts.checkpoint import INFO_FILE, stage_folder
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import read_manifest
from sg.core.identity import Identity
from sg.study.arms import CaptionPool, arm_samples
from sg.study.config import TrainConfig
from sg.study.core_counts import num_core_videos
from sg.study.inputs import Inputs
from sg.train.config import StageConfig
from sg.train.data.media import ClipFiles, Media
from sg.train.data.mixture import check_clip_names, mixed_items, usable_items
from sg.train.data.samples import Clip, TrainingItem, caption_items, clips_of
from sg.train.stage import StageJob, stage_identity


@dataclass(frozen=True, slots=True)
class CaptionData:
    """The captions that a run trains on: those of its arm at its scale.

    Attributes:
        scale: the scale as a number; `num_draws`: samples that the stage sees over all its epochs.
        items: one sample per video and caption.
        instruct_steps: optimiser steps of the instruct stage in addition to its epochs.
        content: content hashes of the manifest and the captions, by name.
    """

    scale: int
    num_draws: int
    items: list[TrainingItem]
    content: Mapping[str, str]
    instruct_steps: int = 0


def caption_data(config: TrainConfig, inputs: Inputs) -> CaptionData:
    """The samples of the caption stage of the run's arm at its scale; empty at scale 0."""
    captions, manifest = read_captions(inputs.captions), read_manifest(inputs.manifest)
    usable = [video_id for video_id in manifest.usable().video_ids if video_id in captions]
    content = {"manifest": manifest.content_hash, "captions": captions.content_hash}
    scale, num_videos = num_core_videos(config, str(config.data.scale), len(usable))
    if num_videos == 0:
        return CaptionData(0, 0, [], content)
    core = usable if num_videos == len(usable) else read_forest(inputs.forest).core(num_videos)
    chosen = arm_samples(CaptionPool(config, core, usable, captions))
    paths = {record.video_id: record.path for record in manifest.usable().records()}
    requests, source = config.stage.caption.requests, config.data.token_source
    items = caption_items(sorted(chosen.captions), chosen.captions, paths, Path(config.data.videos), requests, source)
    return CaptionData(scale, chosen.num_draws, items, content, chosen.instruct_steps)


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run trains on.

    Attributes:
        caption: the captions of its core.
        samples: all samples of an epoch of each stage, by its name; also those whose media are missing.
    """

    inputs: Inputs
    caption: CaptionData
    samples: Mapping[str, list[TrainingItem]]

    @property
    def clips(self) -> list[Clip]:
        """The distinct clips of all stages."""
        return list(clips_of(item for items in self.samples.values() for item in items))


def read_data(config: TrainConfig, inputs: Inputs) -> RunData:
    """The samples of a run.

    Raises:
        DataError: two sources use the same name for different media.
    """
    recipe, caption = config.stage, caption_data(config, inputs)
    samples = {
        stage.name: caption.items if stage is recipe.caption else mixed_items(stage, config.seed)
        for stage in recipe.stages
    }
    check_clip_names([item for items in samples.values() for item in items])
    return RunData(inputs, caption, samples)


def clip_files(config: TrainConfig) -> ClipFiles:
    """Access to what is known about the files of the run's clips."""
    from sg.models.chat_univi.identity import visual_token_identity

    tokens = visual_token_identity(config.model) if config.trainer.visual_token_cache else None
    return ClipFiles(config.work_folder, tokens)


def known_media(config: TrainConfig, data: RunData) -> Media:
    """What is known about the files of all clips, for a plan.

    If there is no finished stage, nothing can be reused. The files are not looked at then, because that takes minutes
    for millions of files on a network disk.
    """
    if any(config.stages_folder.glob(f"*/{INFO_FILE}")):
        return clip_files(config).look(data.clips)
    return Media({}, {}, {clip.key: clip for clip in data.clips})


def stage_jobs(config: TrainConfig, data: RunData, media: Media, is_plan: bool = False) -> list[StageJob]:
    """The stages of a run in order: align, caption (unless the scale is 0), instruct; each starts from the last.

    Samples whose media are missing or cannot be read are left out before a stage is named, so the name stands for the
    samples that are really trained on. While `media.unknown` holds clips, the names are provisional and match no stage.

    Raises:
        MissingInputError: more samples have to be left out than `stage.max_missing` allows (except in a plan).
    """
    recipe, caption = config.stage, data.caption
    jobs: list[StageJob] = []
    for stage in recipe.stages:
        if stage is recipe.caption and not caption.items:
            continue
        every = data.samples[stage.name]
        items = usable_items(stage, every, media, recipe.max_missing, is_strict=not is_plan)
        draws = caption.num_draws if stage is recipe.caption else len(every) * stage.epochs
        if stage is recipe.instruct:
            draws += caption.instruct_steps * stage.batch_size
        if len(items) < len(every):
            draws = draws * len(items) // len(every)
        jobs.append(_job(config, stage, items, draws, media, jobs[-1] if jobs else None, data.inputs.base_model))
    return jobs


def _job(
    config: TrainConfig,
    stage: StageConfig,
    items: list[TrainingItem],
    num_draws: int,
    media: Media,
    parent: StageJob | None,
    base_model: Identity,
) -> StageJob:
    work = stage_identity(
        stage,
        config.trainer,
        items,
        media,
        num_draws=num_draws,
        seed=config.seed,
        parent=None if parent is None else parent.identity,
        base_model=base_model,
    )
    folder = stage_folder(config.stages_folder, stage.name, work.name)
    return StageJob(stage, items, num_draws, config.seed, work, None if parent is None else parent.fingerprint, folder)
