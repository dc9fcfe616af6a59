"""The pictures of a video for a server: each video is decoded once for all of its questions that are asked together."""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.engine.media import MIME_TYPES, MediaFile
from sg.caption.hosted.services.records import Failure, Kind
from sg.evaluate.benchmark import Benchmark
from sg.models.clips import is_image, read_image
from sg.models.student import EncodedQuestion
from sg.study.served.questions import SentFrames, is_black
from sg.study.served.settings import PNG, VIDEO, ServerConfig
from sg.video.frames import UnreadableVideoError
from sg.video.reader import probe, read_frames
from sg.video.resize import resize
from sg.video.sampling import FramePolicy, MiddleOfSegments, Timeline

HELD_VIDEOS = 32
"""Videos whose pictures stay in memory. The questions of a video follow one another."""


class Unprocessed:
    """What `Asker` needs of a processor where the server makes the prompt: no question is too long for it."""

    def question(self, text: str, clip: ClipTensors | None, reply: str = "") -> EncodedQuestion:
        """A placeholder: the server counts its tokens itself."""
        return EncodedQuestion((0,), 0)


class FrameFiles:
    """The files of a benchmark, and the frames of them that are sent.

    Args:
        sampling: the frames of videos for which the benchmark prescribes none.
    """

    def __init__(self, benchmark: Benchmark, config: ServerConfig, sampling: FramePolicy) -> None:
        self.config = config
        own = sampling if config.frames is None else MiddleOfSegments(config.frames)
        self._videos = {
            video.media_id: (video.path, video.frames or own) for video in benchmark.videos if video.path is not None
        }
        self.failures: dict[str, str] = {}
        self.facts: dict[str, ClipTensors] = {}
        for media_id, (path, policy) in self._videos.items():
            try:
                self.facts[media_id] = ClipTensors(media_id, _facts(path, policy), {}, are_features=False)
            except UnreadableVideoError as error:
                self.failures[media_id] = str(error)
        self._held: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of frames by media id."""
        return {name: len(clip.facts.frame_indices) for name, clip in self.facts.items()}

    async def prepare(self, item: CaptionItem, *, force_proxy: bool = False) -> MediaFile | Failure:
        """The pictures or the file of a question's video."""
        if force_proxy:
            return Failure(Kind.MEDIA, "the server refuses the pictures of this video")
        empty = SentFrames(f"image/{self.config.picture}", Path(), 0, b"", "", False)
        if not item.path:
            return empty
        path, _ = self._videos[item.path]
        try:
            if self.config.media == VIDEO and not is_black(item):
                data = await asyncio.to_thread(path.read_bytes)
                mime = MIME_TYPES.get(path.suffix.lower().lstrip("."), "video/mp4")
                return MediaFile(mime, path, len(data), data, "", None)
            pictures = await self._pictures(item.path, black=is_black(item))
        except (UnreadableVideoError, OSError) as error:
            return Failure(Kind.MEDIA, f"the video file cannot be read: {error}"[:300])
        return replace(empty, pictures=pictures, size=sum(map(len, pictures)))

    async def let_go(self, file: MediaFile) -> None:
        """Nothing: the pictures of the last videos stay for their other questions."""

    async def _pictures(self, media_id: str, black: bool) -> tuple[bytes, ...]:
        key = f"{media_id} black" if black else media_id
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._held:
                self._held[key] = await asyncio.to_thread(self._encode, media_id, black)
            self._held.move_to_end(key)
            while len(self._held) > HELD_VIDEOS:
                self._held.popitem(last=False)
            return self._held[key]

    def _encode(self, media_id: str, black: bool) -> tuple[bytes, ...]:
        path, policy = self._videos[media_id]
        frames = read_image(path)[None] if is_image(path) else read_frames(path, policy).frames
        frames = np.zeros_like(frames) if black else frames
        height, width = frames.shape[1:3]
        short = self.config.short_side
        if short is not None and min(height, width) > short:
            frames = resize(frames, *(max(1, round(side * short / min(height, width))) for side in (height, width)))
        return tuple(_picture(frame, self.config.picture) for frame in frames)


def _facts(path: Path, policy: FramePolicy) -> ClipFacts:
    if is_image(path):
        height, width = read_image(path).shape[:2]
        return ClipFacts((0,), 0.0, 1, width, height)
    info = probe(path)
    indices = tuple(policy(Timeline(info.num_frames, info.fps)))
    return ClipFacts(indices, info.fps, info.num_frames, info.width, info.height)


def _picture(frame: NDArray[np.uint8], kind: str) -> bytes:
    stream = io.BytesIO()
    options = {} if kind == PNG else {"quality": 95}
    Image.fromarray(frame).save(stream, kind.upper(), **options)
    return stream.getvalue()
