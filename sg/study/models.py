"""The models of a run, loaded when they are first needed: base model, checkpoints, encoder, visual tokens."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import torch
from transformers.utils import logging as transformers_logging

from sg.artefacts.visual_tokens import VisualTokens, VisualTokenStore
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.shards import WHOLE, Shard
from sg.models.chat_univi.build import build_encoder, build_model, build_processor, load_checkpoint
from sg.models.chat_univi.conversation import DialogEncoder
from sg.models.chat_univi.identity import visual_token_settings
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.config import ModelConfig
from sg.train.config import TrainerConfig
from sg.train.data import ClipReader
from sg.train.samples import Clip, clips_of
from sg.train.stage import StageJob
from sg.train.visual_tokens import CachedClips, DecodedClips, NamedTokens, cache_folder, fill_cache

log = logging.getLogger(__name__)

CLIPS_PER_TURN = 32
"""Clips that a shard encodes before it looks what the others have done."""


class StudyModels:
    """What the stages and the evaluation of one run need of the models.

    Args:
        model: which model; `trainer`: the machine; `work`: folder of the visual-token cache.
        seed: draws a new projector.
    """

    def __init__(self, model: ModelConfig, trainer: TrainerConfig, work: Path, seed: int = 0) -> None:
        self.model, self.trainer, self.work, self.seed = model, trainer, work, seed
        self._problems: dict[str, str] = {}
        torch.set_num_threads(trainer.num_threads)
        # Bars over the tensors of a file would bury those over films and steps.
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    @cached_property
    def encoder(self) -> DialogEncoder:
        """The dialog encoder of the model's tokenizer."""
        return build_encoder(self.model)

    @cached_property
    def _base(self) -> ChatUniViForConditionalGeneration:
        return build_model(self.model, self.seed)

    @cached_property
    def _processor(self) -> ChatUniViProcessor:
        return build_processor(self.model, self._base)

    @cached_property
    def store(self) -> VisualTokenStore:
        """The cache of visual tokens that belongs to the model's tower and merging."""
        settings = visual_token_settings(self.model)
        channels = self._base.config.vision_config.hidden_size
        folder = cache_folder(self.work, settings)
        return VisualTokenStore.create(folder, settings, channels, self.model.visual_token_dtype)

    @cached_property
    def clips(self) -> ClipReader:
        """What stands for clips in batches: cached tokens, or frames when the cache is switched off."""
        return CachedClips(self.store) if self.trainer.visual_token_cache else DecodedClips(self._processor)

    def loader(self, parent: StageJob | None) -> Callable[[], ChatUniViForConditionalGeneration]:
        """Loads the model that a stage starts from: the base model, or its parent's checkpoint."""
        if parent is None:
            return partial(build_model, self.model, self.seed)
        return partial(self.load, str(parent.folder))

    def load(self, checkpoint: str) -> ChatUniViForConditionalGeneration:
        """The model of a stage checkpoint, or of any folder or hub id that `model.checkpoint` takes."""
        return load_checkpoint(checkpoint, self.model.dtype)

    def encode_all(self, jobs: Iterable[StageJob], benchmark: Benchmark) -> None:
        """Cache the visual tokens of all clips that the stages and the benchmark need, in one pass."""
        clips = [clip for job in jobs for clip in clips_of(job.items)] if self.trainer.visual_token_cache else []
        self._problems |= self._encode([*clips, *_benchmark_clips(benchmark).values()])

    def readable_job(self, job: StageJob) -> StageJob:
        """`job` without the items whose clips could not be read; the number of draws shrinks with that of the items."""
        problems = self._problems
        items = [item for item in job.items if item.clip is None or item.clip.key not in problems]
        if len(items) == len(job.items):
            return job
        log.warning("stage %s: %d of %d samples left out, their clips cannot be read",
                    job.stage.name, len(job.items) - len(items), len(job.items))  # fmt: skip
        return dataclasses.replace(job, items=items, num_draws=job.num_draws * len(items) // len(job.items))

    @property
    def device(self) -> torch.device:
        """Where clips are encoded and questions answered."""
        return torch.device("cuda" if self.trainer.accelerator == "gpu" else "cpu")

    def answering_model(self, checkpoint: str) -> ChatUniViForConditionalGeneration:
        """The model of `checkpoint` on the device that answers questions."""
        model = self.load(checkpoint)
        cast(torch.nn.Module, model).to(self.device)
        return model

    def _encode(self, clips: Iterable[Clip]) -> Mapping[str, str]:
        """Fill the cache with `clips`; {key: reason} of those that cannot be read."""
        wanted = list(clips)
        if not self.store.missing(clip.key for clip in wanted):
            return {}
        with file_lock(self.store.folder.with_suffix(".lock")):
            return self._fill(wanted)

    def _encode_with_others(self, clips: Sequence[Clip], shard: Shard) -> Mapping[str, str]:
        """Like `_encode`, with the other shards at the same time: each begins with its own, then helps the slower."""
        groups = [clips[at : at + CLIPS_PER_TURN] for at in range(0, len(clips), CLIPS_PER_TURN)]
        own, others = (
            groups[shard.index :: shard.count],
            [group for index in range(shard.count) if index != shard.index for group in groups[index :: shard.count]],
        )
        problems: dict[str, str] = {}
        for group in [*own, *reversed(others)]:
            self.store.refresh()
            if self.store.missing(clip.key for clip in group):
                with file_lock(self.store.folder / "turns" / f"{fingerprint([clip.key for clip in group])}.lock"):
                    problems |= self._fill(group)
        return problems

    def _fill(self, clips: Sequence[Clip]) -> Mapping[str, str]:
        base = self._base
        self.store.refresh()
        for part in (base.vision_tower, base.mm_projector):
            part.to(self.device)
        try:
            return fill_cache(self.store, clips, base, self._processor, self.trainer.decode_workers)
        finally:  # the device's memory is the stage's
            for part in (base.vision_tower, base.mm_projector):
                part.to("cpu")

    def benchmark_tokens(
        self, benchmark: Benchmark, shard: Shard = WHOLE
    ) -> tuple[Mapping[str, VisualTokens], dict[str, str]]:
        """(visual tokens of the benchmark's videos by media id, {media id: reason} of those that cannot be read)."""
        clips = _benchmark_clips(benchmark)
        wanted = list(clips.values())
        self._problems |= self._encode(wanted) if shard.count == 1 else self._encode_with_others(wanted, shard)
        keys = {media_id: clip.key for media_id, clip in clips.items()}
        failures = {media_id: self._problems[key] for media_id, key in keys.items() if key in self._problems}
        return NamedTokens(self.store, keys), failures


def _benchmark_clips(benchmark: Benchmark) -> dict[str, Clip]:
    """The films of the benchmark that are there, by media id; their keys in the cache begin with its name."""
    return {
        video.media_id: Clip(f"{benchmark.name}/{video.media_id}", video.path)
        for video in benchmark.videos
        if video.path is not None
    }
