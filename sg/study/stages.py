"""Which stages a run needs, what each trains on, and the names by which runs share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.captions import Captions, read_captions
from sg.artefacts.checkpoint import INFO_FILE, stage_folder
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import Manifest, read_manifest
from sg.artefacts.result import EQUAL_STEPS, RANDOM
from sg.core.fingerprints import text_seed
from sg.core.identity import Identity
from sg.study.config import TrainConfig
from sg.study.core_counts import caption_draws, num_core_videos
from sg.study.inputs import Inputs
from sg.train.config import StageConfig
from sg.train.data.media import ClipFiles, Media
from sg.train.data.mixture import check_clip_names, mixed_items, usable_items
from sg.train.data.samples import Clip, TrainingItem, caption_items, clips_of
from sg.train.stage import StageJob, stage_identity


@dataclass(frozen=True, slots=True)
class CaptionData:
    """The captions that a run trains on: the core of its scale, or a random draw of that size.

    Attributes:
        scale: the scale as a number; `num_draws`: samples that the stage sees over all its epochs.
        items: one sample per captioned video of the core.
        content: content hashes of the manifest and the captions, by name.
    """

    scale: int
    num_draws: int
    items: list[TrainingItem]
    content: Mapping[str, str]


def caption_data(config: TrainConfig, inputs: Inputs) -> CaptionData:
    """The samples of the caption stage at the run's scale; empty at scale 0.

    `data.control=random` draws videos without the merge forest. The draws of one seed are nested over the scales.
    """
    captions, manifest = read_captions(inputs.captions), read_manifest(inputs.manifest)
    usable = [video_id for video_id in manifest.usable().video_ids if video_id in captions]
    content = {"manifest": manifest.content_hash, "captions": captions.content_hash}
    scale, num_videos = num_core_videos(config, str(config.data.scale), len(usable))
    if num_videos == 0:
        return CaptionData(0, 0, [], content)
    if config.data.control == RANDOM:
        core = sorted(usable, key=lambda video_id: text_seed("random control", config.seed, video_id))[:num_videos]
    elif num_videos == len(usable):
        core = usable
    else:
        core = read_forest(inputs.forest).core(num_videos)
    items = _items(config, core, captions, manifest)
    draws = caption_draws(config, len(usable)) if config.data.control == EQUAL_STEPS else None
    return CaptionData(scale, len(items) * config.stage.caption.epochs if draws is None else draws, items, content)


def _items(config: TrainConfig, core: Sequence[str], captions: Captions, manifest: Manifest) -> list[TrainingItem]:
    paths = {record.video_id: record.path for record in manifest.usable().records()}
    requests = config.stage.caption.requests
    return caption_items(sorted(core), captions, paths, Path(config.data.videos), requests, config.data.token_source)


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
