"""Fill the cache of visual tokens: the features of clips that no stage changes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.utils.data import DataLoader, Dataset

from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.content import FileState, file_state
from sg.core.errors import DataError
from sg.core.progress import Progress
from sg.models.clips import clip_facts, decode_clip
from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, VISION, Student, StudentProcessor, part_of
from sg.train.data.media import LOOKS_AT_ONCE
from sg.train.data.samples import Clip
from sg.video.frames import UnreadableVideoError

log = logging.getLogger(__name__)

CLIPS_PER_BATCH = 16
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


class _ClipsToDecode(Dataset[tuple[Clip, FileState | None, ClipTensors | str]]):
    """Clips as pixels, or the reason why they have none."""

    def __init__(self, clips: Sequence[Clip], processor: StudentProcessor) -> None:
        self.clips, self.processor = clips, processor

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Clip, FileState | None, ClipTensors | str]:
        clip = self.clips[index]
        # Before decoding: if the file is replaced meanwhile, the next run sees that it differs and encodes it again.
        state = file_state(clip.path)
        try:
            return clip, state, decode_clip(clip.key, clip.path, self.processor, clip.frames)
        except UnreadableVideoError as error:
            return clip, state, str(error)


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
    student: Student,
    processor: StudentProcessor,
    level: str,
    decode_workers: int,
    device: torch.device | str = "cpu",
) -> dict[str, str]:
    """Compute the tokens of the clips that `store` lacks; return {key: reason} of those that cannot be read.

    A shard is added when it is full, so a killed run loses at most one. Several processes can fill one store.
    """
    missing = clips_to_encode(store, clips)
    if not missing:
        return {}
    log.info("visual tokens: %d clips to encode into %s", len(missing), store.folder)
    problems: dict[str, str] = {}
    loader = DataLoader(
        _ClipsToDecode(missing, processor),
        batch_size=CLIPS_PER_BATCH,
        num_workers=decode_workers,
        collate_fn=list,
    )
    _move(student, device)
    try:
        with Progress("visual tokens", len(missing), "clips") as bar, store.writer(SHARD_BYTES) as writer:
            for batch in loader:
                problems |= {clip.key: found for clip, _, found in batch if isinstance(found, str)}
                readable = [(state, found) for _, state, found in batch if state and isinstance(found, ClipTensors)]
                features = student.features([found for _, found in readable], level)
                for (state, _), clip in zip(readable, features, strict=True):
                    writer.add(clip, state)
                bar.advance(len(readable))
                bar.fail(len(batch) - len(readable))
    finally:  # Free the device's memory for the stage.
        _move(student, "cpu")
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
