"""An open film in PyAV: opening safely, reading its packets, decoding it through damage.

Films come from strangers, so only the demuxers of real films are allowed and only files may be opened: playlists and
concat scripts would make FFmpeg open other files or the network.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from sg.video.frames import (
    EMPTY,
    MISSING,
    NO_VIDEO,
    TOO_LARGE,
    TRUNCATED,
    UNREADABLE,
    ReaderLimits,
    UnreadableVideoError,
)

MP4, MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
INDEXED_CONTAINERS = (MP4, MATROSKA)
"""Containers whose packets carry reliable time stamps; all others are decoded from the start and counted."""
STAMPED_CONTAINERS = ("mpegts", "mpeg", "flv")
"""Containers that are counted, but whose frames carry the time at which they are shown."""
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vvc,obu,av1,ivf,flv,live_flv,kux,"
    "asf,asf_o,gif,apng,ogg,mxf,nut,rm,dv,yuv4mpegpipe,wtv,nsv,nuv,swf,h261,h263,vc1,mjpeg,"
    "mp3,wav,aac,flac,ac3,eac3,amr,aiff,w64,caf,opus"
)
_SIGNATURES = {4: (b"ftyp", b"moov", b"mdat", b"styp"), 0: (b"\x1a\x45\xdf\xa3", b"RIFF", b"FLV", b"OggS")}
_MAX_DEMUX_ERRORS = 100
_ZEROS = bytes(64)
_ZERO_FREE_CODECS = ("h264", "hevc", "vp8", "vp9", "av1")


@dataclass(slots=True)
class Film:
    """An open film."""

    path: Path
    container: Any
    stream: Any
    complaints: list[str]
    """What the demuxer logged as errors so far: Matroska skips damaged stretches and tells nobody else."""
    num_bad: int = 0
    """Packets that could not be read or decoded so far."""

    def seek(self, stamp: int) -> bool:
        """Go to the key frame at or before `stamp`; False where a damaged index does not let it."""
        try:
            self.container.seek(stamp, stream=self.stream, backward=True, any_frame=False)
        except (av.FFmpegError, OSError):
            return False
        return True


@contextlib.contextmanager
def open_film(path: Path, limits: ReaderLimits) -> Iterator[Film]:
    """Open a film for one thread; UnreadableVideoError when it is missing, empty, no film, or too large."""
    _check_file(path)
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    complaints: list[str] = []
    try:
        with demuxer_complaints(complaints):
            # The prefix keeps names such as "-x.mp4" or "concat:a|b" from being read as anything but a file.
            container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _open_error(path, error) from error
    with container:
        yield Film(path, container, _video_stream(path, container, limits), complaints)


@contextlib.contextmanager
def demuxer_complaints(texts: list[str]) -> Iterator[None]:
    """Collect what demuxers log as errors."""
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # the same film may be read twice
    try:
        with av.logging.Capture() as entries:
            yield
    finally:
        av.logging.set_level(None)
    texts.extend(text for _, name, text in entries if name in INDEXED_CONTAINERS)


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableVideoError(MISSING, f"{path.name}: no such file") from None
    except OSError as error:
        raise UnreadableVideoError(UNREADABLE, f"{path.name}: cannot be reached ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableVideoError(UNREADABLE, f"{path.name}: not a regular file")
    if status.st_size == 0:
        raise UnreadableVideoError(EMPTY, f"{path.name}: the file is empty (0 bytes)")


def _open_error(path: Path, error: Exception) -> UnreadableVideoError:
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
    except OSError as problem:
        return UnreadableVideoError(UNREADABLE, f"{path.name}: cannot be opened ({problem.strerror})")
    if any(head[offset:].startswith(marks) for offset, marks in _SIGNATURES.items()):
        return UnreadableVideoError(TRUNCATED, f"{path.name}: begins like a film, but its index is cut off or broken")
    kind = "text or HTML" if head.lstrip().startswith((b"<", b"{", b"#")) else "no known film format"
    detail = getattr(error, "strerror", None) or type(error).__name__
    return UnreadableVideoError(UNREADABLE, f"{path.name}: not a film ({kind}; {detail})")


def _video_stream(path: Path, container: Any, limits: ReaderLimits) -> Any:
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None
    ]
    if not streams and all(stream.type == "video" and not stream.frames for stream in container.streams):
        raise UnreadableVideoError(TRUNCATED, f"{path.name}: begins like a film, but its index is cut off or broken")
    if not streams:
        raise UnreadableVideoError(NO_VIDEO, f"{path.name}: holds no video stream of a known codec")
    chosen = streams[0]
    if chosen.codec_context.width * chosen.codec_context.height > limits.max_pixels:
        size = f"{chosen.codec_context.width}x{chosen.codec_context.height}"
        raise UnreadableVideoError(TOO_LARGE, f"{path.name}: {size} is more than {limits.max_pixels} pixels a frame")
    for stream in container.streams:
        if stream is not chosen and stream.type in ("audio", "video", "subtitle"):
            stream.discard = av.stream.Discard.all
    chosen.thread_type = "NONE"
    chosen.codec_context.thread_count = 1
    # Without this the decoders paint over damage and return the picture as if it were whole.
    chosen.codec_context.options = {"err_detect": "explode+crccheck+bitstream+buffer"}
    return chosen


def is_zeroed(film: Film, packet: Any) -> bool:
    """Whether a packet has a stretch of zeros that its codec cannot write: the decoders would paint over it."""
    return film.stream.codec.canonical_name in _ZERO_FREE_CODECS and _ZEROS in bytes(packet)


def decode(
    film: Film, wanted: Set[int] | None = None, read: list[int | None] | None = None
) -> Iterator[tuple[Any | None, bool]]:
    """Frames from here on in the order of showing, each with whether it is whole.

    With `wanted` time stamps, other frames that none builds on may be left out: their decoding changes no picture. The
    stamps of the packets go into `read`.

    A frame is not whole before the first key frame, and from a packet that fails up to the next key frame, because its
    picture builds on a lost one. A packet that fails gives (None, False), a lost frame. What lies before the first key
    frame is left out, but for mp4: it cannot be cut at its front, so there it is damage.
    """
    whole, started = False, film.container.format.name == MP4
    decoder, skipped = film.stream.codec_context, ""
    for packet in demux(film):
        if wanted is not None and skipped != (skips := "DEFAULT" if packet.pts in wanted else "NONREF"):
            decoder.skip_frame = skipped = skips
        if read is not None and packet.size:
            read.append(packet.pts)
        started = started or packet.is_keyframe
        lost, pictures = _decoded(film, packet)
        if lost and started:
            film.num_bad += 1
            yield None, False
        if lost or packet.is_corrupt:
            whole = False
        elif packet.is_discard and packet.is_keyframe:
            whole = True  # decoded, but hidden by an edit list: what follows builds on it
        for picture in pictures:
            if picture.is_corrupt:
                whole = False
            elif picture.key_frame:
                whole = True
            if started:
                yield picture, whole


def _decoded(film: Film, packet: Any) -> tuple[bool, list[Any]]:
    if packet.size and is_zeroed(film, packet):
        return True, []
    try:
        return False, packet.decode()
    except (av.FFmpegError, ValueError):
        return True, []


def demux(film: Film) -> Iterator[Any]:
    """Packets of the film's stream; unreadable stretches of the file are skipped and counted."""
    for _ in range(_MAX_DEMUX_ERRORS):
        try:
            yield from film.container.demux(film.stream)
            return
        except (av.InvalidDataError, IndexError):  # IndexError: damage invents a new stream
            film.num_bad += 1
        except (av.FFmpegError, OSError):
            film.num_bad += 1
            return
