"""The student of a run, loaded on first use, and the features of its clips."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from transformers.utils import logging as transformers_logging

from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.content import file_stamp
from sg.core.errors import ConfigError, DataError, ModelError
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint
from sg.evaluate.asking import FeatureSource
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.sample import sample_scores, sampled
from sg.evaluate.shards import WHOLE, EvaluationShard
from sg.models.student import CONNECTOR, STUDENTS, FeatureCache, Student, StudentProcessor, load_student
from sg.train.config import TrainerConfig
from sg.train.data.clips import CachedClips, ClipReader, DecodedClips, unreadable_clips
from sg.train.data.media import ClipFiles, Media, cache_folder
from sg.train.data.samples import Clip
from sg.train.data.visual_tokens import (
    FreshFeatures,
    NamedTokens,
    announce_cache,
    clips_to_encode,
    fill_cache,
)
from sg.train.processes import ALONE, Team
from sg.train.stage import StageJob, checkpoint_of

log = logging.getLogger(__name__)

ShownVideos = tuple[FeatureSource, dict[str, str]]
"""The features of a benchmark's videos by media id, and {media id: reason} of those that cannot be read."""
CLIPS_PER_TURN = 32
"""Number of clips that a shard encodes before it checks what the others have done."""


class StudyModels:
    """The student of one run, and the features of clips that its stages and its evaluation need.

    Args:
        model: the settings of the student; `trainer`: the machine; `work`: folder of the visual-token cache.
        seed: draws weights that no file holds, such as a new projector.
        team: the processes of the run, which share the encoding of clips.
        trained: the parts that a stage of the run trains.
        checkpoint: trained weights that are only asked, instead of the model before its first stage.
    """

    def __init__(
        self,
        model: Any,
        trainer: TrainerConfig,
        work: Path,
        seed: int = 0,
        team: Team = ALONE,
        trained: Collection[str] = (),
        checkpoint: str | None = None,
    ) -> None:
        self.model, self.trainer, self.work, self.seed, self.team = model, trainer, work, seed, team
        self.kind, self.trained, self.checkpoint = STUDENTS.of(model), trained, checkpoint
        self._problems: dict[str, str] = {}
        torch.set_num_threads(trainer.num_threads)
        # Progress bars over the tensors of a file would hide those over clips and steps.
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    @cached_property
    def processor(self) -> StudentProcessor:
        """Text and frames of the student."""
        return self.kind.processor(self.model, self.checkpoint)

    @cached_property
    def features(self) -> FeatureCache | None:
        """The features of clips that no stage of the run changes; None if there are none that can be cached."""
        found = self.kind.cache(self.model, self.trained, self.checkpoint)
        if found is not None and CONNECTOR in self.trained:  # not every tower can be separated from its connector
            student = self.kind.load(self.model, found.checkpoint, self.seed)
            try:
                student.feature_widths(found.level)
            except ModelError as error:
                log.warning("%s Every clip passes it in every epoch.", error)
                return None
            self.__dict__["_base"] = student
        return found

    @property
    def _caches(self) -> bool:
        """True if the stages read features from the cache."""
        return self.trainer.visual_token_cache and self.features is not None

    @property
    def _cache(self) -> FeatureCache:
        assert self.features is not None  # nothing is encoded otherwise
        return self.features

    @cached_property
    def _base(self) -> Student:
        """What computes the cached features."""
        return self.kind.load(self.model, self._cache.checkpoint, self.seed)

    @cached_property
    def store(self) -> VisualTokenStore:
        """The cache of features."""
        cache = self._cache
        widths = self._base.feature_widths(cache.level)
        return VisualTokenStore.create(cache_folder(self.work, cache.identity), cache.identity, widths, cache.dtype)

    @cached_property
    def clips(self) -> ClipReader:
        """What represents clips in the batches of a stage: cached features, or frames."""
        return CachedClips(self.store) if self._caches else DecodedClips(self.processor)

    def loader(self, parent: StageJob | None) -> Callable[[], Student]:
        """A function that loads the student that a stage starts from: as published, or the checkpoint of `parent`."""
        return partial(self.kind.load, self.model, checkpoint_of(parent), self.seed)

    def open_clips(self, files: ClipFiles, media: Media, benchmarks: Sequence[Benchmark]) -> None:
        """Open the clips that `media` does not know yet, and encode them and those of the benchmarks in one pass.

        Afterwards `files.look` knows all of them. Without the visual-token cache the clips of the stages are only
        opened, so that one that cannot be read is found before training.

        Raises:
            DataError: no video of a benchmark can be read.
        """
        opened = list(media.unknown.values())
        stamps = {clip.key: file_stamp(clip.path) for clip in opened}
        asked = {benchmark.name: list(_benchmark_clips(benchmark).values()) for benchmark in benchmarks}
        every = [clip for clips in asked.values() for clip in clips]
        if not self._caches:
            files.tokens = None
        if self.features is None:
            self._problems |= unreadable_clips(every)
        else:
            self._encode_together([*(opened if self._caches else []), *every])
        for name, clips in asked.items():
            if clips and all(clip.key in self._problems for clip in clips):
                raise DataError(
                    f"None of the {len(clips)} videos of benchmark {name!r} can be read, such as {clips[0].path} "
                    f"({self._problems[clips[0].key]})."
                )
        if self.team.leads:
            if not self._caches:
                self._problems |= unreadable_clips(opened)
                files.record(opened, stamps, self._problems)
            else:
                files.record([clip for clip in opened if clip.key in self._problems], stamps, self._problems)
        if self._caches:
            self.__dict__.pop("_base", None)  # Free the base model before training.

    def use(self, media: Media) -> None:
        """Read the visual tokens of exactly these files: the stages are named by their content."""
        if self._caches:
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
            announce_cache(self.store, todo, self._base.size, self.processor, self.trained)
        share = todo[self.team.rank :: self.team.size]
        if self.trainer.visual_token_engine == "ray":  # the cluster shares the clips out
            share = todo if self.team.leads else []
        own = self._fill(share)
        return {key: reason for problems in self.team.gathered(own) for key, reason in problems.items()}

    def answering_student(self, checkpoint: str | None) -> Student:
        """The student in `checkpoint` (None: as published) on the device that answers questions."""
        student = self.kind.load(self.model, checkpoint, self.seed)
        cast(torch.nn.Module, student.module).to(training_device(self.trainer))
        return student

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
        trainer, cache, is_local = self.trainer, self._cache, self.trainer.visual_token_engine == "local"
        load = (lambda: self._base) if is_local else partial(load_student, self.model, cache.checkpoint, self.seed)
        device = training_device(trainer) if is_local else "cuda" if trainer.accelerator == "gpu" else "cpu"
        return fill_cache(
            self.store, clips, load, self.processor, cache.level, trainer.decode_workers, device,
            trainer.visual_token_engine,
        )  # fmt: skip

    def asked_student(
        self,
        checkpoint: str | None,
        benchmarks: Sequence[Benchmark],
        shard: EvaluationShard = WHOLE,
        student: Student | None = None,
    ) -> tuple[Student, list[ShownVideos]]:
        """Return the student in `checkpoint` (None: as published), and what it is shown of each benchmark.

        Args:
            student: that of an earlier call for the same checkpoint, which is then not loaded again.
        """
        named = [_benchmark_clips(benchmark) for benchmark in benchmarks]
        wanted = [clip for clips in named for clip in clips.values()]
        if self.features is None:
            self._problems |= unreadable_clips(wanted)
        else:
            is_alone = shard.count == 1 or self.trainer.visual_token_engine == "ray"
            self._problems |= self._encode(wanted) if is_alone else self._encode_with_others(wanted, shard)
        student = student or self.answering_student(checkpoint)
        return student, [self._shown(student, clips) for clips in named]

    def asking(self, benchmark: Benchmark, config: BenchmarkConfig) -> Callable[[Student], Mapping[str, float]] | None:
        """Scores a sample of the questions of `benchmark`, for `trainer.evaluate_every`; None without it."""
        if self.trainer.evaluate_every is None:
            return None
        sample = sampled(benchmark, self.trainer.evaluate_questions)

        def ask(student: Student) -> Mapping[str, float]:
            _, [(features, failures)] = self.asked_student(None, [sample], student=student)
            return sample_scores(student, self.processor, sample, features, config, failures)

        return ask

    def _shown(self, student: Student, clips: Mapping[str, Clip]) -> ShownVideos:
        failures = {name: self._problems[clip.key] for name, clip in clips.items() if clip.key in self._problems}
        if self.features is not None:
            return NamedTokens(self.store, {name: clip.key for name, clip in clips.items()}), failures
        readable = {name: clip for name, clip in clips.items() if name not in failures}
        return FreshFeatures(student, self.processor, readable), failures


class AskedModels:
    """The student in a checkpoint under several settings of it: it is loaded once per settings."""

    def __init__(self, checkpoint: str, trainer: TrainerConfig, work: Path) -> None:
        self._checkpoint, self._trainer, self._work = checkpoint, trainer, work
        self._known: list[tuple[Any, StudyModels, Student]] = []

    def ask(
        self, model: Any, benchmarks: Sequence[Benchmark], shard: EvaluationShard = WHOLE
    ) -> tuple[Student, StudentProcessor, list[ShownVideos]]:
        """The student with the settings `model`, its processor, and what it is shown of each benchmark."""
        known = next((one for one in self._known if one[0] == model), None)
        models = known[1] if known else StudyModels(model, self._trainer, self._work, checkpoint=self._checkpoint)
        student, shown = models.asked_student(self._checkpoint, benchmarks, shard, known[2] if known else None)
        if known is None:
            self._known.append((model, models, student))
        return student, models.processor, shown


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
        video.media_id: Clip(video.clip_key(benchmark.name), video.path, video.frames)
        for video in benchmark.videos
        if video.path is not None
    }
