"""The models of a run, loaded on first use: base model, checkpoints, encoder, visual tokens."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import torch
from transformers.utils import logging as transformers_logging

from sg.artefacts.visual_tokens.store import VisualTokens, VisualTokenStore
from sg.core.content import file_stamp
from sg.core.errors import ConfigError, DataError
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint
from sg.evaluate.benchmark import Benchmark, BenchmarkVideo
from sg.evaluate.shards import WHOLE, EvaluationShard
from sg.models.chat_univi.build import build_encoder, build_model, build_processor, load_checkpoint
from sg.models.chat_univi.identity import visual_token_identity
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.chat_univi.text.conversation import DialogEncoder
from sg.models.config import ModelConfig
from sg.train.config import TrainerConfig
from sg.train.data.clips import CachedClips, DecodedClips, unreadable_clips
from sg.train.data.loading import ClipReader
from sg.train.data.media import ClipFiles, Media, cache_folder
from sg.train.data.samples import Clip
from sg.train.data.visual_tokens import (
    NamedTokens,
    announce_cache,
    clips_to_encode,
    fill_cache,
)
from sg.train.processes import ALONE, Team
from sg.train.stage import StageJob

log = logging.getLogger(__name__)

CLIPS_PER_TURN = 32
"""Number of clips that a shard encodes before it checks what the others have done."""


class StudyModels:
    """The models and visual tokens that the stages and the evaluation of one run need.

    Args:
        model: which model; `trainer`: the machine; `work`: folder of the visual-token cache.
        seed: draws a new projector.
        team: the processes of the run, which share the encoding of clips.
    """

    def __init__(
        self, model: ModelConfig, trainer: TrainerConfig, work: Path, seed: int = 0, team: Team = ALONE
    ) -> None:
        self.model, self.trainer, self.work, self.seed, self.team = model, trainer, work, seed, team
        self._problems: dict[str, str] = {}
        torch.set_num_threads(trainer.num_threads)
        # Progress bars over the tensors of a file would hide those over clips and steps.
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
        made_by = visual_token_identity(self.model)
        channels = self._base.config.vision_config.hidden_size
        folder = cache_folder(self.work, made_by)
        return VisualTokenStore.create(folder, made_by, channels, self.model.visual_token_dtype)

    @cached_property
    def clips(self) -> ClipReader:
        """What represents clips in batches: cached tokens, or frames when the cache is off."""
        return CachedClips(self.store) if self.trainer.visual_token_cache else DecodedClips(self._processor)

    def loader(self, parent: StageJob | None) -> Callable[[], ChatUniViForConditionalGeneration]:
        """A function that loads the model that a stage starts from: the base model, or the checkpoint of `parent`."""
        if parent is None:
            return partial(build_model, self.model, self.seed)
        return partial(self.load, str(parent.folder))

    def load(self, checkpoint: str) -> ChatUniViForConditionalGeneration:
        """The model of a stage checkpoint, or of any folder or hub id that `model.checkpoint` takes."""
        return load_checkpoint(checkpoint, self.model.dtype)

    def open_clips(self, files: ClipFiles, media: Media, benchmark: Benchmark) -> None:
        """Open the clips that `media` does not know yet, and encode them and those of the benchmark in one pass.

        Afterwards `files.look` knows all of them. Without the visual-token cache the clips of the stages are only
        opened, so that one that cannot be read is found before training.

        Raises:
            DataError: no video of the benchmark can be read.
        """
        opened = list(media.unknown.values())
        stamps = {clip.key: file_stamp(clip.path) for clip in opened}
        encoded = opened if self.trainer.visual_token_cache else []
        asked = _benchmark_clips(benchmark)
        self._encode_together([*encoded, *asked.values()])
        problems = {clip.path: self._problems[clip.key] for clip in asked.values() if clip.key in self._problems}
        if problems and len(problems) == len(asked):
            path, reason = next(iter(problems.items()))
            raise DataError(
                f"None of the {len(asked)} videos of benchmark {benchmark.name!r} can be read, such as {path} "
                f"({reason})."
            )
        if self.team.leads:
            if not self.trainer.visual_token_cache:
                self._problems |= unreadable_clips(opened)
                files.record(opened, stamps, self._problems)
            else:
                files.record([clip for clip in opened if clip.key in self._problems], stamps, self._problems)
        if self.trainer.visual_token_cache:
            self.__dict__.pop("_base", None)  # Free the base model before training.

    def use(self, media: Media) -> None:
        """Read the visual tokens of exactly these files: the stages are named by their content."""
        if self.trainer.visual_token_cache:
            self.store.use(media.content)

    def _encode_together(self, wanted: Sequence[Clip]) -> None:
        """Cache the visual tokens of the clips; every process of the team encodes its share of the missing ones."""
        with contextlib.ExitStack() as held:
            if self.team.leads:
                held.enter_context(file_lock(self.store.folder.with_suffix(".lock")))
            self.team.agreed(lambda: None)  # The other processes wait here until the leading one has the lock.
            self.store.refresh()
            missing = self.team.agreed(lambda: [clip.key for clip in clips_to_encode(self.store, wanted)])
            if missing:
                self._problems |= self._encode_shares(wanted, missing)
                self.store.refresh()

    def _encode_shares(self, clips: Sequence[Clip], missing: Sequence[str]) -> dict[str, str]:
        """Encode this process's share of the `missing` clips; return {key: reason} of all clips that cannot be read."""
        by_key = {clip.key: clip for clip in clips}
        todo = [by_key[key] for key in missing]
        if self.team.leads:
            announce_cache(self.store, todo, self._base.merging, self._processor)
        share = todo[self.team.rank :: self.team.size]
        own = self._fill(share)
        return {key: reason for problems in self.team.gathered(own) for key, reason in problems.items()}

    def answering_model(self, checkpoint: str) -> ChatUniViForConditionalGeneration:
        """The model of `checkpoint` on the device that answers questions."""
        model = self.load(checkpoint)
        cast(torch.nn.Module, model).to(training_device(self.trainer))
        return model

    def _encode(self, clips: Iterable[Clip]) -> Mapping[str, str]:
        """Fill the cache with `clips`; return {key: reason} of those that cannot be read."""
        wanted = list(clips)
        if not clips_to_encode(self.store, wanted):
            return {}
        with file_lock(self.store.folder.with_suffix(".lock")):
            return self._fill(wanted)

    def _encode_with_others(self, clips: Sequence[Clip], shard: EvaluationShard) -> Mapping[str, str]:
        """Like `_encode`, together with the other shards: encode the shard's own groups of clips, then help the others.

        It walks through the groups of the others backwards, so that it meets a shard that is still working as late as
        possible. A lock per group keeps two shards from encoding the same clips.
        """
        groups = [clips[at : at + CLIPS_PER_TURN] for at in range(0, len(clips), CLIPS_PER_TURN)]
        own, others = (
            groups[shard.index :: shard.count],
            [group for index in range(shard.count) if index != shard.index for group in groups[index :: shard.count]],
        )
        problems: dict[str, str] = {}
        for group in [*own, *reversed(others)]:
            self.store.refresh()
            if clips_to_encode(self.store, group):
                with file_lock(self.store.folder / "turns" / f"{fingerprint([clip.key for clip in group])}.lock"):
                    problems |= self._fill(group)
        return problems

    def _fill(self, clips: Sequence[Clip]) -> dict[str, str]:
        self.store.refresh()
        return fill_cache(
            self.store, clips, self._base, self._processor, self.trainer.decode_workers, training_device(self.trainer)
        )

    def benchmark_tokens(
        self, benchmark: Benchmark, shard: EvaluationShard = WHOLE
    ) -> tuple[Mapping[str, VisualTokens], dict[str, str]]:
        """(visual tokens of the benchmark's videos by media id, {media id: reason} of those that cannot be read)."""
        clips = _benchmark_clips(benchmark)
        wanted = list(clips.values())
        self._problems |= self._encode(wanted) if shard.count == 1 else self._encode_with_others(wanted, shard)
        keys = {media_id: clip.key for media_id, clip in clips.items()}
        failures = {media_id: self._problems[key] for media_id, key in keys.items() if key in self._problems}
        return NamedTokens(self.store, keys), failures


def training_device(trainer: TrainerConfig) -> torch.device:
    """The device of this process.

    Raises:
        ConfigError: the machine has no such device.
    """
    if trainer.accelerator != "gpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator=gpu, but PyTorch finds no GPU on this machine: use trainer=cpu.")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _benchmark_clips(benchmark: Benchmark) -> dict[str, Clip]:
    """The existing video files of the benchmark, by media id; their keys in the cache start with its name."""
    return {
        video.media_id: Clip(f"{benchmark.name}/{video.media_id}{_frames_suffix(video)}", video.path, video.frames)
        for video in benchmark.videos
        if video.path is not None
    }


def _frames_suffix(video: BenchmarkVideo) -> str:
    """Prescribed frames as a part of the key, because other frames of the same file have other tokens."""
    return "" if video.frames is None else f"@{fingerprint([type(video.frames).__name__, video.frames])}"
