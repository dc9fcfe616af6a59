"""Which stages a run needs, what each trains on, and the names by which runs share them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sg.artefacts.captions import StoredCaptions
from sg.artefacts.checkpoint import INFO_FILE, stage_folder
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import hash_manifest, records_of, usable_ids
from sg.core.identity import Identity
from sg.models.student import STUDENTS, FeatureCache
from sg.study.arms import CaptionPool, arm_samples
from sg.study.config import TrainConfig
from sg.study.core_counts import num_core_videos
from sg.study.held_out import HeldOut, held_out_videos, own_dialogs, own_held_out
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
        held_out: captions of videos that are in no core.
        content: content hashes of the manifest and the captions, by name.
    """

    scale: int
    num_draws: int
    items: list[TrainingItem]
    content: Mapping[str, str]
    instruct_steps: int = 0
    held_out: HeldOut = field(default_factory=HeldOut)


def caption_data(config: TrainConfig, inputs: Inputs) -> CaptionData:
    """The samples of the caption stage of the run's arm at its scale (empty at scale 0), and the held-out captions.

    A scale counts all captioned videos, but no core contains a held-out one.
    """
    captions = StoredCaptions(inputs.captions)
    usable = captions.among(usable_ids(inputs.manifest))
    content = {"manifest": hash_manifest(inputs.manifest), "captions": captions.content_hash}
    scale, num_videos = num_core_videos(config, str(config.data.scale), len(usable))
    kept_out = held_out_videos(config, inputs, captions, usable, content)

    def samples(texts: Mapping[str, str]) -> list[TrainingItem]:
        paths = {video_id: record.path for video_id, record in records_of(inputs.manifest, texts).items()}
        requests, source = config.stage.caption.requests, config.data.token_source
        return caption_items(sorted(texts), texts, paths, config.data.videos_folder, requests, source)

    if config.data.held_out.dialogs is not None:
        held_out = own_held_out(config)
    else:
        items, of_video = samples(captions.texts(kept_out)), records_of(inputs.manifest, kept_out)
        held_out = HeldOut(items, [of_video[item.dialog.dialog_id].source for item in items])
    if num_videos == 0:
        return CaptionData(0, 0, [], content, held_out=held_out)
    pool = [video_id for video_id in usable if video_id not in kept_out]
    core = pool if num_videos >= len(pool) else _core(inputs, num_videos, kept_out)
    chosen = arm_samples(CaptionPool(config, core, pool, captions.texts))
    return CaptionData(scale, chosen.num_draws, samples(chosen.captions), content, chosen.instruct_steps, held_out)


def _core(inputs: Inputs, num_videos: int, kept_out: frozenset[str]) -> list[str]:
    """The videos of a core without the held-out ones."""
    forest = read_forest(inputs.forest)
    largest = forest.core(min(len(forest), num_videos + len(kept_out)))
    return [video_id for video_id in largest if video_id not in kept_out][:num_videos]


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run trains on.

    Attributes:
        caption: the captions of its core.
        samples: all samples of an epoch of each stage, by its name; also those whose media are missing.
        own_dialogs: dialogs of the model's own kind, on which no stage trains.
    """

    inputs: Inputs
    caption: CaptionData
    samples: Mapping[str, list[TrainingItem]]
    own_dialogs: HeldOut = field(default_factory=HeldOut)

    @property
    def items(self) -> list[TrainingItem]:
        """The samples of all stages, the held-out captions, and the dialogs of the model's own kind."""
        items = [item for items in self.samples.values() for item in items]
        return [*items, *self.caption.held_out.items, *self.own_dialogs.items]

    @property
    def clips(self) -> list[Clip]:
        """The distinct clips of all samples."""
        return list(clips_of(self.items))


def read_data(config: TrainConfig, inputs: Inputs) -> RunData:
    """The samples of a run; DataError if two sources use the same name for different media."""
    recipe, caption = config.stage, caption_data(config, inputs)
    samples = {
        stage.name: caption.items if stage is recipe.caption else mixed_items(stage, config.seed)
        for stage in recipe.stages
    }
    data = RunData(inputs, caption, samples, own_dialogs(config))
    check_clip_names(data.items)
    return data


def clip_files(config: TrainConfig) -> ClipFiles:
    """Access to what is known about the files of the run's clips."""
    cache = feature_cache(config)
    return ClipFiles(config.work_folder, None if cache is None else cache.identity)


def feature_cache(config: TrainConfig) -> FeatureCache | None:
    """The features of clips that the stages of a run read from their cache."""
    if not config.trainer.visual_token_cache:
        return None
    return STUDENTS.of(config.model).cache(config.model, config.stage.trained)


def known_media(config: TrainConfig, data: RunData) -> Media:
    """What is known about the files of all clips, for a plan.

    If there is no finished stage, nothing can be reused. The files are not looked at then, because that takes minutes
    for millions of files on a network disk.
    """
    if any(config.stages_folder.glob(f"*/{INFO_FILE}")):
        return clip_files(config).look(data.clips)
    return Media({}, {}, {clip.key: clip for clip in data.clips})


def stage_jobs(config: TrainConfig, data: RunData, media: Media, is_plan: bool = False) -> list[StageJob]:
    """The stages of a run in the order of its recipe, without `caption` at scale 0; each starts from the last.

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
