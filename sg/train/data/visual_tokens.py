"""Fill the cache of visual tokens.

Everything before the projector is frozen, and token merging has no parameters. So the merged tokens of a clip are the
same for every stage, scale, epoch, seed and checkpoint.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sg.artefacts.visual_tokens.store import BYTES_PER_VALUE, VisualTokens, VisualTokenStore
from sg.core.content import FileState, file_state
from sg.core.errors import DataError
from sg.core.progress import Progress
from sg.train.data.clips import DecodedClip, count_frames, decode_clip
from sg.train.data.media import LOOKS_AT_ONCE
from sg.train.data.samples import Clip, noise_seed
from sg.video.frames import UnreadableVideoError

if TYPE_CHECKING:
    from sg.models.chat_univi.abstractor import MergeSettings
    from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
    from sg.models.chat_univi.processor import ChatUniViProcessor

log = logging.getLogger(__name__)

CLIPS_PER_BATCH = 16
SHARD_BYTES = 64 * 1024**2
# Number of clips that are opened to predict the size of all.
PROBED_CLIPS = 200


def announce_cache(
    store: VisualTokenStore, clips: Sequence[Clip], merging: MergeSettings, processor: ChatUniViProcessor
) -> int:
    """Log and return the predicted size of the tokens of `clips` in bytes, before any is computed.

    The prediction comes from at most about `PROBED_CLIPS` evenly spaced clips.

    Raises:
        DataError: the disk has not enough space.
    """
    chosen = clips[:: max(1, len(clips) // PROBED_CLIPS)]
    tokens = 0
    for clip in chosen:
        try:
            tokens += merging.num_tokens(count_frames(clip, processor))
        except UnreadableVideoError:
            continue
    size = tokens * len(clips) // max(1, len(chosen)) * store.channels * BYTES_PER_VALUE[store.dtype]
    log.info("visual tokens: about %s for %d clips, into %s", readable_size(size), len(clips), store.folder)
    free = shutil.disk_usage(store.folder).free
    if size > free:
        raise DataError(
            f"The visual tokens will take about {readable_size(size)}, but {store.folder} has {readable_size(free)} "
            "free: set paths.work to a larger disk, or trainer.visual_token_cache=false."
        )
    return size


def readable_size(size: float) -> str:
    """`size` bytes with three digits and a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


class _ClipsToDecode(Dataset[tuple[FileState | None, DecodedClip]]):
    def __init__(self, clips: Sequence[Clip], processor: ChatUniViProcessor) -> None:
        self.clips, self.processor = clips, processor

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[FileState | None, DecodedClip]:
        clip = self.clips[index]
        # Before decoding: if the file is replaced meanwhile, the next run sees that it differs and encodes it again.
        state = file_state(clip.path)
        return state, decode_clip(clip, self.processor)


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
    model: ChatUniViForConditionalGeneration,
    processor: ChatUniViProcessor,
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
    model.vision_tower.to(device)
    try:
        with Progress("visual tokens", len(missing), "clips") as bar, store.writer(SHARD_BYTES) as writer:
            for batch in loader:
                readable = [(state, clip) for state, clip in batch if state is not None and clip.pixels is not None]
                problems |= {clip.key: clip.problem for _, clip in batch if clip.pixels is None}
                encoded = _encode([clip for _, clip in readable], model)
                for (state, clip), tokens in zip(readable, encoded, strict=True):
                    writer.add(clip.key, VisualTokens(tokens, clip.frame_indices, clip.fps, clip.num_frames), state)
                bar.advance(len(readable))
                bar.fail(len(batch) - len(readable))
    finally:  # Free the device's memory for the stage.
        model.vision_tower.to("cpu")
    for key, reason in problems.items():
        log.warning("visual tokens: %s cannot be read: %s", key, reason)
    return problems


def _encode(clips: Sequence[DecodedClip], model: ChatUniViForConditionalGeneration) -> list[Tensor]:
    if not clips:
        return []
    device = next(model.vision_tower.parameters()).device
    pixels = torch.cat([clip.pixels for clip in clips if clip.pixels is not None]).to(device)
    counts = [len(clip.frame_indices) for clip in clips]
    seeds = [noise_seed(clip.key, count) for clip, count in zip(clips, counts, strict=True)]
    return [tokens.cpu() for tokens in model.encode_clips(pixels, counts, seeds)]


class NamedTokens(Mapping[str, VisualTokens]):
    """The tokens of a store under other names: `names` maps each name to a key of the store."""

    def __init__(self, store: VisualTokenStore, names: Mapping[str, str]) -> None:
        self.store = store
        self.names = {name: key for name, key in names.items() if key in store}

    def __getitem__(self, name: str) -> VisualTokens:
        return self.store[self.names[name]]

    def __contains__(self, name: object) -> bool:
        return name in self.names  # Mapping's own test would read the tokens.

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
