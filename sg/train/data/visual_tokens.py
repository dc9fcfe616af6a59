"""Fill the cache of visual tokens: the features of clips that no stage changes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import torch

from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.content import FileState, file_state
from sg.core.crew.workers import check_engine
from sg.core.errors import DataError, SgError
from sg.core.progress import Progress
from sg.models.clips import clip_facts, decode_clip, packed_clip, reading_processes, unpacked_clip
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, VISION, Student, StudentProcessor, part_of
from sg.train.data.media import LOOKS_AT_ONCE
from sg.train.data.samples import Clip
from sg.video.frames import UnreadableVideoError
from sg.video.maps import VideoMap

log = logging.getLogger(__name__)

CLIPS_PER_BATCH = 16
FEW_CLIPS = 100
"""Up to this number, starting processes that read clips takes longer than reading them."""
SHARD_BYTES = 64 * 1024**2
# Number of clips that are opened to predict the size of all.
PROBED_CLIPS = 200


def announce_cache(
    store: VisualTokenStore,
    clips: Sequence[Clip],
    size: ModelSize,
    processor: StudentProcessor,
    trained: Collection[str] = (),
) -> int:
    """Log and return the predicted size of the tokens of `clips` in bytes, before any is computed.

    The prediction comes from at most about `PROBED_CLIPS` evenly spaced clips. `trained` are the parts that learn.

    Raises:
        DataError: the disk has not enough space.
    """
    chosen = clips[:: max(1, len(clips) // PROBED_CLIPS)]
    tokens = 0
    for clip in chosen:
        try:
            facts = clip_facts(clip.path, processor, clip.frames)
        except UnreadableVideoError:
            continue
        tokens += size.visual_tokens(len(facts.frame_indices), facts)
    token_bytes = size.tower_bytes if CONNECTOR in trained and size.tower_bytes else store.bytes_per_row
    needed = tokens * len(clips) // max(1, len(chosen)) * token_bytes
    log.info("visual tokens: about %s for %d clips, into %s", readable_size(needed), len(clips), store.folder)
    free = shutil.disk_usage(store.folder).free
    if needed > free:
        raise DataError(
            f"The visual tokens will take about {readable_size(needed)}, but {store.folder} has {readable_size(free)} "
            "free: set paths.work to a larger disk, or trainer.visual_token_cache=false."
        )
    return needed


def readable_size(size: float) -> str:
    """`size` bytes with three digits and a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _read(processor: StudentProcessor, clip: Clip) -> tuple[FileState | None, bytes]:
    """The file of a clip, and its packed pixels."""
    # Before decoding: if the file is replaced meanwhile, the next run sees that it differs and encodes it again.
    state = file_state(clip.path)
    return state, packed_clip(clip.key, clip.path, processor, clip.frames)


_ReadClip = tuple[Clip, tuple[FileState | None, bytes] | SgError]
Encoded = tuple[list[tuple[FileState, ClipTensors]], dict[str, str]]
"""The features of the clips of a batch, with the files that they come from, and {key: reason} of the others."""


class _Encoder:
    """The second step: computes the features of a batch of clips."""

    def __init__(self, load: Callable[[], Student], level: str, device: torch.device | str, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        self._student, self._level = load(), level
        _move(self._student, device)

    def __call__(self, found: Sequence[_ReadClip]) -> Encoded:
        for _, one in found:
            if isinstance(one, SgError) and not isinstance(one, UnreadableVideoError):
                raise one
        read = [(clip, *one) for clip, one in found if not isinstance(one, SgError)]
        readable = [(state, unpacked_clip(data)) for _, state, data in read if state is not None]
        features = self._student.features([clip for _, clip in readable], self._level)
        problems = {clip.key: str(one) for clip, one in found if isinstance(one, SgError)}
        problems |= {clip.key: "the file is gone" for clip, state, _ in read if state is None}
        states = [state for state, _ in readable]
        return list(zip(states, map(_on_cpu, features), strict=True)), problems


def _on_cpu(clip: ClipTensors) -> ClipTensors:
    return replace(clip, tensors={name: tensor.cpu() for name, tensor in clip.tensors.items()})


def clips_to_encode(store: VisualTokenStore, clips: Iterable[Clip]) -> list[Clip]:
    """The clips without tokens in `store`, or with tokens of a file that was replaced since; each clip once.

    Tokens of a file that does not exist any more stay valid.
    """
    unique = list({clip.key: clip for clip in clips}.values())
    known = [clip for clip in unique if clip.key in store]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        is_current = pool.map(lambda clip: store.is_current(clip.key, clip.path), known)
        replaced = {clip.key for clip, current in zip(known, is_current, strict=True) if not current}
    if replaced:
        log.info(
            "visual tokens: %d files differ from those that were encoded under their names, first %s",
            len(replaced),
            min(replaced),
        )
    return [clip for clip in unique if clip.key not in store or clip.key in replaced]


def fill_cache(
    store: VisualTokenStore,
    clips: Iterable[Clip],
    load: Callable[[], Student],
    processor: StudentProcessor,
    level: str,
    decode_workers: int,
    device: torch.device | str = "cpu",
    engine: str = "local",
) -> dict[str, str]:
    """Compute the tokens of the clips that `store` lacks; return {key: reason} of those that cannot be read.

    A shard is added when it is full, so a killed run loses at most one. Several processes can fill one store.

    Args:
        load: returns the student, always the same one here; with `engine="ray"` every worker calls it, so that it must
            be picklable.

    Raises:
        ConfigError: Ray is not installed.
    """
    missing = clips_to_encode(store, clips)
    if not missing:
        return {}
    check_engine("trainer.visual_token_engine", engine)
    log.info("visual tokens: %d clips to encode into %s", len(missing), store.folder)
    problems: dict[str, str] = {}
    encoder = partial(_Encoder, load, level, str(device), torch.get_num_threads())
    processes = reading_processes(decode_workers if len(missing) > FEW_CLIPS else 0)
    work = VideoMap(partial(_read, processor), encoder, processes)
    batches = [missing[start : start + CLIPS_PER_BATCH] for start in range(0, len(missing), CLIPS_PER_BATCH)]
    try:
        with Progress("visual tokens", len(missing), "clips") as bar, store.writer(SHARD_BYTES) as writer:
            for features, failed in work.over(batches, engine):
                for state, clip in features:
                    writer.add(clip, state)
                bar.advance(len(features))
                bar.fail(len(failed))
                problems |= failed
    finally:
        if engine == "local":  # Free the device's memory for the stage.
            _move(load(), "cpu")
    for key, reason in problems.items():
        log.warning("visual tokens: %s cannot be read: %s", key, reason)
    return problems


def _move(student: Student, device: torch.device | str) -> None:
    """Move what makes features to a device; the language model stays where it is."""
    for name, value in [*student.module.named_parameters(), *student.module.named_buffers()]:
        if part_of(student.parts, name) in (VISION, CONNECTOR):
            value.data = value.data.to(device)


class FreshFeatures:
    """Features that are computed whenever they are asked for: those of a student whose tower was trained.

    Args:
        clips: by the names under which they are asked for; all can be read.
    """

    def __init__(self, student: Student, processor: StudentProcessor, clips: Mapping[str, Clip]) -> None:
        self.student, self.processor, self.clips = student, processor, clips

    def __contains__(self, name: object) -> bool:
        return name in self.clips

    def __getitem__(self, name: str) -> ClipTensors:
        clip = self.clips[name]
        return self.student.features([decode_clip(clip.key, clip.path, self.processor, clip.frames)])[0]


class NamedTokens(Mapping[str, ClipTensors]):
    """The tokens of a store under other names: `names` maps each name to a key of the store."""

    def __init__(self, store: VisualTokenStore, names: Mapping[str, str]) -> None:
        self.store = store
        self.names = {name: key for name, key in names.items() if key in store}

    def __getitem__(self, name: str) -> ClipTensors:
        return self.store[self.names[name]]

    def __contains__(self, name: object) -> bool:
        return name in self.names  # Mapping's own test would read the tokens.

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
