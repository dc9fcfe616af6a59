"""What represents a clip in a batch: cached features, or frames that are read for each batch."""

import logging
from collections.abc import Iterable
from typing import Protocol

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.errors import DataError
from sg.models.clips import clip_facts, decode_clip, is_image, read_image
from sg.models.student import StudentProcessor
from sg.train.data.samples import Clip
from sg.video.frames import UnreadableVideoError
from sg.video.reader import probe

log = logging.getLogger(__name__)


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


class ClipReader(Protocol):
    """Returns what represents a clip in a batch."""

    def facts(self, clip: Clip) -> ClipFacts:
        """The frames that are sampled from the clip, which decide its place in a dialog."""

    def read(self, clip: Clip) -> ClipTensors:
        """Features or pixel values of the clip."""


class CachedClips:
    """Clips as their cached features."""

    def __init__(self, store: VisualTokenStore) -> None:
        self.store = store

    def facts(self, clip: Clip) -> ClipFacts:
        """The frames that the clip's features were made from."""
        return self.store.facts(clip.key)

    def read(self, clip: Clip) -> ClipTensors:
        """The clip's features, in the type of the store."""
        return self.store[clip.key]


class DecodedClips:
    """Clips as pixel values, decoded for each batch (`trainer.visual_token_cache=false`)."""

    def __init__(self, processor: StudentProcessor) -> None:
        self.processor = processor
        self._facts: dict[str, ClipFacts] = {}

    def facts(self, clip: Clip) -> ClipFacts:
        """The frames that are sampled from the clip."""
        if clip.key not in self._facts:
            self._facts[clip.key] = clip_facts(clip.path, self.processor, clip.frames)
        return self._facts[clip.key]

    def read(self, clip: Clip) -> ClipTensors:
        """Pixel values; DataError if the clip was readable when the stage was planned, and no longer is."""
        try:
            return decode_clip(clip.key, clip.path, self.processor, clip.frames)
        except UnreadableVideoError as error:
            raise DataError(f"{clip.path} can no longer be read ({error}); run the same command again.") from error
