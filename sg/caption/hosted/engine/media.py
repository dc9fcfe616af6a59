"""Video files on their way to a service: inside the request, uploaded, or as a small proxy at one frame per second.

`VideoAddresses` (`addresses.py`) is for videos that the service reads itself.
"""

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from sg.artefacts.names import resolve_inside
from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.engine.proxies import make_proxy
from sg.caption.hosted.services.records import Failure, Kind
from sg.core.errors import DataError
from sg.core.places.ranges import far, opened, size_of

MAX_HELD = 200_000_000
"""Bytes of video files that wait in memory for their requests, whose encoded copies take three times as much more."""
UPLOAD_LIMIT = 2_000_000_000
_SMALL = 2**16
"""Files below this are read on the event loop: a thread would cost more than the reading."""
MIME_TYPES = {
    "mp4": "video/mp4", "m4v": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpg", "mov": "video/mov",
    "avi": "video/avi", "flv": "video/x-flv", "webm": "video/webm", "wmv": "video/wmv", "3gp": "video/3gpp",
}  # fmt: skip
_SOUND_MP4 = re.compile(rb"hdlr.{8}soun", re.DOTALL)
_SOUND_WEBM = re.compile(rb"A_(?:OPUS|VORBIS|AAC|MPEG)")


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file that is ready to be sent: `data` if inside the request, `uri` if the service reads it, else uploaded.

    `size` (bytes), `media_sha256` and `has_audio` are those of what is sent, which may be a proxy; 0 and empty for a
    video that the service reads itself.
    """

    mime_type: str
    path: Path
    size: int
    data: bytes | None
    media_sha256: str
    has_audio: bool | None
    proxy: bool = False
    uri: str = ""

    def sound(self, item: CaptionItem) -> bool | None:
        """Whether what is sent has sound: of a proxy the file says so, of other files the manifest, if it knows."""
        return self.has_audio if self.proxy or item.has_audio is None else item.has_audio


class MediaFiles:
    """Reads the video files of a data set and decides how each is sent.

    Args:
        videos: the folder of the video files.
        transport: `captioner.transport`.
        proxies: the folder in which proxies are made.
        inline_bytes: the largest encoded file inside a request.
        can_upload: whether files that are too large for a request may be uploaded. Those of an address or archive are
            not: a proxy is sent instead.
        reads_ranges: whether the model that has the path of a file can read it by ranges.
        timeout_s: the maximum time to make one proxy.
    """

    def __init__(
        self,
        videos: Path,
        transport: str,
        proxies: Path,
        *,
        inline_bytes: int,
        can_upload: bool,
        timeout_s: float,
        reads_ranges: bool = False,
    ) -> None:
        self._videos, self._transport, self._proxies, self._inline_bytes = videos, transport, proxies, inline_bytes
        self._held, self._let_go = 0, asyncio.Condition()
        self._can_upload, self._timeout_s, self._reads_ranges = can_upload, timeout_s, reads_ranges
        # One proxy at a time: decoding and encoding use all cores by themselves.
        self._making = asyncio.Semaphore(1)

    async def prepare(self, item: CaptionItem, *, force_proxy: bool = False) -> MediaFile | Failure:
        """The file of a video; a file that cannot be read is a MEDIA failure. Call `let_go` when it is sent."""
        try:
            path = resolve_inside(self._videos, item.path)
            size = size_of(path)
        except (DataError, OSError) as error:
            return Failure(Kind.MEDIA, f"the video file cannot be read: {error}"[:300])
        if not size:
            return Failure(Kind.MEDIA, "the video file is empty")
        mime = MIME_TYPES.get(path.suffix.lower().lstrip("."))
        if self._transport == "path":
            if force_proxy:
                return Failure(Kind.MEDIA, "no proxy is made of a video that the server reads at its path")
            if far(path) is not None and not self._reads_ranges:
                return Failure(Kind.MEDIA, "the server can read no file of an archive or address at its path")
            return MediaFile(mime or "video/mp4", path, size, None, "", None, uri=path.absolute().as_uri())
        how = self._choose(size, mime, self._can_upload and size <= UPLOAD_LIMIT and far(path) is None)
        if how == "proxy" or force_proxy:
            async with self._making:
                made = await asyncio.to_thread(make_proxy, path, self._proxies, self._timeout_s)
            if isinstance(made, Failure):
                return made
            size = made.stat().st_size
            proxy = await self._hold(made, "video/mp4", size, self._fits(size))
            made.unlink()
            return replace(proxy, proxy=True)
        assert mime is not None
        return await self._hold(path, mime, size, how == "inline")

    async def _hold(self, path: Path, mime: str, size: int, inline: bool) -> MediaFile:
        """Read a file as soon as memory has room for it; one file always has."""
        if inline:
            async with self._let_go:
                await self._let_go.wait_for(lambda: not self._held or self._held + size <= MAX_HELD)
                self._held += size
        if size < _SMALL:
            return _read(path, mime, inline)
        return await asyncio.to_thread(_read, path, mime, inline)

    async def let_go(self, file: MediaFile) -> None:
        """Make room for the next files: the data of this one is no longer needed."""
        if file.data is not None:
            async with self._let_go:
                self._held -= file.size
                self._let_go.notify_all()

    def _fits(self, size: int) -> bool:
        return size * 4 // 3 <= self._inline_bytes  # base64 makes four bytes of three

    def _choose(self, size: int, mime: str | None, can_upload: bool) -> str:
        if mime is None or self._transport == "proxy":
            return "proxy"
        if self._transport == "inline":
            return "inline" if self._fits(size) else "proxy"
        if self._transport == "upload" or not self._fits(size):
            return "upload" if can_upload else "proxy"
        return "inline"


def _read(path: Path, mime: str, inline: bool) -> MediaFile:
    if inline:
        with opened(path) as stream:
            data = stream.read()
        return MediaFile(mime, path, len(data), data, hashlib.sha256(data).hexdigest(), has_sound(data, mime))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        audio = has_sound(stream.read(2**20), mime)
    # The index of a large mp4 may be at its end: its sound is then unknown, not absent.
    return MediaFile(mime, path, path.stat().st_size, None, digest, audio or None)


def has_sound(data: bytes, mime: str) -> bool | None:
    """Whether an mp4, mov or webm file declares a sound track; None for containers that are not examined."""
    if mime in ("video/mp4", "video/mov", "video/3gpp") and b"moov" in data:
        return _SOUND_MP4.search(data) is not None
    if mime == "video/webm" and b"V_" in data:
        return _SOUND_WEBM.search(data) is not None
    return None


def media_as_json(file: MediaFile) -> str:
    """What a record says of a sent file. It is kept, because a proxy is deleted long before its answer arrives."""
    return json.dumps((file.mime_type, file.size, file.media_sha256, file.has_audio, file.proxy))


def media_from_json(media: str) -> MediaFile:
    """The file of `media_as_json`, without its path and its bytes."""
    mime_type, size, digest, has_audio, proxy = json.loads(media)
    return MediaFile(mime_type, Path(), size, None, digest, has_audio, proxy)
