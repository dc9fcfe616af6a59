"""What represents a clip in a batch: cached visual tokens, or frames that are read for each batch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.errors import DataError
from sg.train.data.samples import Clip
from sg.video.frames import UNREADABLE, UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.sampling import Timeline

if TYPE_CHECKING:
    from sg.models.chat_univi.processor import ChatUniViProcessor

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """Pixel values [T, 3, size, size] float32 of a clip's sampled frames, or the reason why it has none."""

    key: str
    pixels: Tensor | None
    frame_indices: tuple[int, ...] = ()
    fps: float = 0.0
    num_frames: int = 0
    problem: str = ""


def is_image(path: Path) -> bool:
    """True if the file at `path` is an image, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> NDArray[np.uint8]:
    """The image at `path` as uint8 [H, W, 3], read by PIL as in the reference.

    Raises:
        UnreadableVideoError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableVideoError(UNREADABLE, f"{path.name}: not a readable image ({error})") from error


def count_frames(clip: Clip, processor: ChatUniViProcessor) -> int:
    """Number of frames that are sampled from the file of `clip`, without decoding it.

    Raises:
        UnreadableVideoError: it cannot be read.
    """
    if is_image(clip.path):
        return 1
    info = probe(clip.path)
    return len((clip.frames or processor.frames)(Timeline(info.num_frames, info.fps)))


def unreadable_clips(clips: Iterable[Clip]) -> dict[str, str]:
    """{key: reason} of the clips that cannot be opened."""
    problems: dict[str, str] = {}
    for clip in {clip.key: clip for clip in clips}.values():
        try:
            if is_image(clip.path):
                read_image(clip.path)
            else:
                probe(clip.path)
        except UnreadableVideoError as error:
            problems[clip.key] = str(error)
            log.warning("%s cannot be read: %s", clip.key, error)
    return problems


def decode_clip(clip: Clip, processor: ChatUniViProcessor) -> DecodedClip:
    """The sampled frames of `clip` as the tower takes them, or the reason why it cannot be read."""
    try:
        if is_image(clip.path):
            return DecodedClip(clip.key, processor.pixel_values(read_image(clip.path)), (0,), 0.0, 1)
        frames = read_frames(clip.path, clip.frames or processor.frames)
    except UnreadableVideoError as error:
        return DecodedClip(clip.key, None, problem=str(error))
    pixels = processor.pixel_values(frames.frames)
    return DecodedClip(clip.key, pixels, tuple(frames.indices), frames.fps, frames.num_frames)


class CachedClips:
    """Clips as their cached visual tokens, [n, C] float32."""

    is_cached = True

    def __init__(self, store: VisualTokenStore) -> None:
        self.store = store

    def frame_count(self, clip: Clip) -> int:
        """Number of frames that the clip's tokens were made from."""
        return self.store.frame_count(clip.key)

    def read(self, clip: Clip) -> Tensor:
        """The clip's visual tokens, float32 [n, C]."""
        return self.store.tokens(clip.key).float()


class DecodedClips:
    """Clips as pixel values, decoded for each batch (`trainer.visual_token_cache=false`)."""

    is_cached = False

    def __init__(self, processor: ChatUniViProcessor) -> None:
        self.processor = processor
        self._frame_counts: dict[str, int] = {}

    def frame_count(self, clip: Clip) -> int:
        """Number of frames that are sampled from the clip."""
        if clip.key not in self._frame_counts:
            self._frame_counts[clip.key] = count_frames(clip, self.processor)
        return self._frame_counts[clip.key]

    def read(self, clip: Clip) -> Tensor:
        """Pixel values [T, 3, size, size].

        Raises:
            DataError: the clip was readable when the stage was planned, and no longer is.
        """
        decoded = decode_clip(clip, self.processor)
        if decoded.pixels is None:
            raise DataError(f"{clip.path} can no longer be read ({decoded.problem}); run the same command again.")
        return decoded.pixels
