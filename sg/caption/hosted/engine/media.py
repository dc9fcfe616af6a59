"""Films on their way to a service: inline, uploaded, or as a small proxy at one frame a second."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.names import resolve_inside
from sg.caption.hosted.engine.clips import Clip
from sg.caption.hosted.engine.proxies import make_proxy
from sg.caption.hosted.services.records import Failure, Kind
from sg.core.errors import DataError

INLINE_LIMIT = 18_000_000
"""Bytes of an encoded request that is sent inline; the service takes 20 MB."""
UPLOAD_LIMIT = 2_000_000_000
_MIME = {
    "mp4": "video/mp4", "m4v": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpg", "mov": "video/mov",
    "avi": "video/avi", "flv": "video/x-flv", "webm": "video/webm", "wmv": "video/wmv", "3gp": "video/3gpp",
}  # fmt: skip
_SOUND_MP4 = re.compile(rb"hdlr.{8}soun", re.DOTALL)
_SOUND_WEBM = re.compile(rb"A_(?:OPUS|VORBIS|AAC|MPEG)")


@dataclass(frozen=True, slots=True)
class Film:
    """A film ready to be sent: `data` when inline, else the `path` to upload. `media_sha256` is of what is sent."""

    mime_type: str
    path: Path
    size: int
    data: bytes | None
    media_sha256: str
    has_audio: bool | None
    proxy: bool = False


class Films:
    """Reads the films of a data folder and decides how each is sent."""

    def __init__(self, videos: Path, transport: str, proxies: Path, *, can_upload: bool, timeout_s: float) -> None:
        self._videos, self._transport, self._proxies = videos, transport, proxies
        self._can_upload, self._timeout_s = can_upload, timeout_s
        self._making = asyncio.Semaphore(1)

    async def prepare(self, clip: Clip, *, force_proxy: bool = False) -> Film | Failure:
        """The film of a clip; a film that cannot be read is a MEDIA failure."""
        try:
            path = resolve_inside(self._videos, clip.path)
            size = path.stat().st_size
        except (DataError, OSError) as error:
            return Failure(Kind.MEDIA, f"the film cannot be read: {error}"[:300])
        if not size:
            return Failure(Kind.MEDIA, "the film is empty")
        mime = _MIME.get(path.suffix.lower().lstrip("."))
        how = self._choose(size, mime)
        if how == "proxy" or force_proxy:
            async with self._making:
                made = await asyncio.to_thread(make_proxy, path, self._proxies, clip, self._timeout_s)
            if isinstance(made, Failure):
                return made
            film = await asyncio.to_thread(_read, made, "video/mp4", made.stat().st_size * 4 // 3 < INLINE_LIMIT)
            made.unlink()
            # A proxy has no sound track, but that says nothing about the film's own.
            return Film(film.mime_type, film.path, film.size, film.data, film.media_sha256, clip.has_audio, proxy=True)
        assert mime is not None
        if size < 2**16:
            return _read(path, mime, how == "inline")
        return await asyncio.to_thread(_read, path, mime, how == "inline")

    def _choose(self, size: int, mime: str | None) -> str:
        if mime is None or self._transport == "proxy":
            return "proxy"
        fits = size * 4 // 3 <= INLINE_LIMIT
        if self._transport == "inline":
            return "inline" if fits else "proxy"
        if self._transport == "upload" or not fits:
            return "upload" if self._can_upload and size <= UPLOAD_LIMIT else "proxy"
        return "inline"


def _read(path: Path, mime: str, inline: bool) -> Film:
    if inline:
        data = path.read_bytes()
        return Film(mime, path, len(data), data, hashlib.sha256(data).hexdigest(), has_sound(data, mime))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        audio = has_sound(stream.read(2**20), mime)
    # The index of a large mp4 may lie at its end: then its sound stays unknown.
    return Film(mime, path, path.stat().st_size, None, digest, audio or None)


def has_sound(data: bytes, mime: str) -> bool | None:
    """Whether an mp4, mov or webm film declares a sound track; None for containers that are not looked into."""
    if mime in ("video/mp4", "video/mov", "video/3gpp") and b"moov" in data:
        return _SOUND_MP4.search(data) is not None
    if mime == "video/webm" and b"V_" in data:
        return _SOUND_WEBM.search(data) is not None
    return None
