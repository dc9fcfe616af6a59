"""A video file opened in PyAV: opening it safely, reading its packets, decoding it through damage.

Video files come from strangers. Only the demuxers of real video formats are allowed, and only local files may be
opened: playlists and concat scripts would make FFmpeg open other files or the network.
"""

import contextlib
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import av

from sg.core.places.ranges import RangeFile, far, far_entry, opened, range_file
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
"""Containers whose packets carry reliable time stamps. Files in all others are decoded from the start and counted."""
STAMPED_CONTAINERS = ("mpegts", "mpeg", "flv")
"""Containers whose frames are counted, but carry the time at which they are shown."""
_DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vvc,obu,av1,ivf,flv,live_flv,kux,"
    "asf,asf_o,gif,apng,ogg,mxf,nut,rm,dv,yuv4mpegpipe,wtv,nsv,nuv,swf,h261,h263,vc1,mjpeg,"
    "mp3,wav,aac,flac,ac3,eac3,amr,aiff,w64,caf,opus"
)
_SIGNATURES = {4: (b"ftyp", b"moov", b"mdat", b"styp"), 0: (b"\x1a\x45\xdf\xa3", b"RIFF", b"FLV", b"OggS")}
_MAX_DEMUX_ERRORS = 100
_MAX_LATE = 2000
_ZEROS = bytes(64)
_ZERO_FREE_CODECS = ("h264", "hevc", "vp8", "vp9", "av1")


@dataclass(slots=True)
class OpenVideo:
    """An open video file."""

    path: Path
    container: Any
    file: RangeFile | None
    """The open file of an address; None for a file of this machine."""
    stream: Any
    demux_errors: list[str]
    """Errors that the demuxer has logged so far. Matroska skips damaged parts and reports them nowhere else."""
    num_bad: int = 0
    """Packets that could not be read or decoded so far."""

    def seek(self, stamp: int) -> bool:
        """Go to the key frame at or before `stamp`; returns False where a damaged index does not allow that."""
        try:
            self.container.seek(stamp, stream=self.stream, backward=True, any_frame=False)
        except (av.FFmpegError, OSError):
            return False
        return True


@contextlib.contextmanager
def open_video_file(path: Path, limits: ReaderLimits) -> Iterator[OpenVideo]:
    """Open a video file for one decoding thread.

    Raises:
        UnreadableVideoError: the file is missing, empty, not a video, or its frames are larger than `limits` allow.
    """
    _check_file(path)
    demux_errors: list[str] = []
    file = range_file(path)
    with _opened(path, file, demux_errors) as container:
        streams = _video_streams(path, container)
        if len(streams) == 1:
            yield OpenVideo(path, container, file, _prepared(path, container, streams[0], limits), demux_errors)
            return
        place = _moving_stream(container, streams)
    demux_errors.clear()
    with _opened(path, file, demux_errors) as container:  # again, because looking for the stream has moved it
        stream = _video_streams(path, container)[place]
        yield OpenVideo(path, container, file, _prepared(path, container, stream, limits), demux_errors)


def _opened(path: Path, file: RangeFile | None, demux_errors: list[str]) -> Any:
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
    try:
        with collected_errors(demux_errors):
            if file is not None:
                file.seek(0)
                return av.open(cast(Any, file), options=options, metadata_errors="replace")
            # Without the prefix FFmpeg would read names such as "-x.mp4" or "concat:a|b" as options or protocols.
            return av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _open_error(path, error) from error


@contextlib.contextmanager
def collected_errors(texts: list[str]) -> Iterator[None]:
    """Collect what demuxers log as errors."""
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # otherwise a second read of the same file logs nothing
    try:
        with av.logging.Capture() as entries:
            yield
    finally:
        av.logging.set_level(None)
    texts.extend(text for _, name, text in entries if name in INDEXED_CONTAINERS)


def _check_file(path: Path) -> None:
    try:
        if far(path) is not None:
            if not far_entry(path).size:
                raise UnreadableVideoError(EMPTY, f"{path.name}: the file is empty (0 bytes)")
            return
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
        with opened(path) as stream:
            head = stream.read(12)
    except OSError as problem:
        return UnreadableVideoError(UNREADABLE, f"{path.name}: cannot be opened ({problem.strerror})")
    if any(head[offset:].startswith(marks) for offset, marks in _SIGNATURES.items()):
        return UnreadableVideoError(
            TRUNCATED, f"{path.name}: begins like a video file, but its index is cut off or broken"
        )
    kind = "text or HTML" if head.lstrip().startswith((b"<", b"{", b"#")) else "no known video format"
    detail = getattr(error, "strerror", None) or type(error).__name__
    return UnreadableVideoError(UNREADABLE, f"{path.name}: not a video ({kind}; {detail})")


def _video_streams(path: Path, container: Any) -> list[Any]:
    """The video streams of known codecs that are not marked as a cover picture; at least one."""
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None
    ]
    if not streams and all(stream.type == "video" and not stream.frames for stream in container.streams):
        raise UnreadableVideoError(
            TRUNCATED, f"{path.name}: begins like a video file, but its index is cut off or broken"
        )
    if not streams:
        raise UnreadableVideoError(NO_VIDEO, f"{path.name}: holds no video stream of a known codec")
    return streams


def _moving_stream(container: Any, streams: list[Any]) -> int:
    """Place of the first stream with a second packet: a cover picture that is not marked as one has a single packet.

    A stream may be late by `_MAX_LATE` packets of the others.
    """
    counts = dict.fromkeys((stream.index for stream in streams), 0)
    with contextlib.suppress(av.FFmpegError, IndexError, OSError):
        for packet in container.demux(streams):
            counts[packet.stream.index] += packet.size > 0
            if counts[streams[0].index] > 1 or sum(counts.values()) > _MAX_LATE:
                break
    return next((place for place, stream in enumerate(streams) if counts[stream.index] > 1), 0)


def _prepared(path: Path, container: Any, chosen: Any, limits: ReaderLimits) -> Any:
    """The stream `chosen` with one decoding thread, all others left unread."""
    if chosen.codec_context.width * chosen.codec_context.height > limits.max_pixels:
        size = f"{chosen.codec_context.width}x{chosen.codec_context.height}"
        raise UnreadableVideoError(TOO_LARGE, f"{path.name}: {size} is more than {limits.max_pixels} pixels per frame")
    for stream in container.streams:
        if stream is not chosen and stream.type in ("audio", "video", "subtitle"):
            stream.discard = av.stream.Discard.all
    chosen.thread_type = "NONE"
    chosen.codec_context.thread_count = 1
    # Without this the decoders conceal damage and return the picture as if it was whole.
    chosen.codec_context.options = {"err_detect": "explode+crccheck+bitstream+buffer"}
    return chosen


def is_zeroed(video: OpenVideo, packet: Any) -> bool:
    """Whether a packet holds a run of zeros that its codec cannot write.

    File systems fill lost blocks with zeros. The decoders conceal them without an error.
    """
    return video.stream.codec.canonical_name in _ZERO_FREE_CODECS and _ZEROS in bytes(packet)


def num_held(video: OpenVideo, before: int | None, after: int | None) -> int:
    """Frames between two consecutive packets of an AVI: empty chunks, which show the picture before once more.

    FFmpeg skips them and counts them in the time stamps.
    """
    if video.container.format.name != "avi" or before is None or after is None:
        return 0
    return max(0, after - before - 1)


def decode(
    video: OpenVideo, wanted: Set[int] | None = None, read: list[int | None] | None = None
) -> Iterator[tuple[Any | None, bool]]:
    """Yield the frames from the current position in the order in which they are shown, each with whether it is whole.

    A frame is not whole before the first key frame, and after a failed packet until the next key frame, because it is
    predicted from a lost one. A failed packet yields (None, False), a lost frame. Frames before the first key frame are
    left out, except in mp4: an mp4 cannot be cut at its front, so a missing first key frame is damage there.

    Args:
        video: the open file; it counts its bad packets.
        wanted: time stamps of the wanted frames. Other frames that no frame is predicted from are not decoded then,
            which changes no picture.
        read: a list to which the time stamp of every packet is appended.
    """
    dts: list[int | None] = []
    last: tuple[Any | None, bool] = (None, False)
    for position, frame in enumerate(_decode_packets(video, wanted, read, dts)):
        if 0 < position < len(dts):
            yield from repeat(last, num_held(video, dts[position - 1], dts[position]))
        yield frame
        last = frame


def _decode_packets(
    video: OpenVideo, wanted: Set[int] | None, read: list[int | None] | None, dts: list[int | None]
) -> Iterator[tuple[Any | None, bool]]:
    """Decode the packets of a file; `dts` receives the decoding time stamp of each."""
    whole, started = False, video.container.format.name == MP4
    decoder, skipped = video.stream.codec_context, ""
    for packet in demux(video):
        if wanted is not None and skipped != (skips := "DEFAULT" if packet.pts in wanted else "NONREF"):
            decoder.skip_frame = skipped = skips
        if packet.size:
            dts.append(packet.dts)
        if read is not None and packet.size:
            read.append(packet.pts)
        started = started or packet.is_keyframe
        lost, pictures = _decoded(video, packet)
        if lost and started:
            video.num_bad += 1
            yield None, False
        if lost or packet.is_corrupt:
            whole = False
        elif packet.is_discard and packet.is_keyframe:
            whole = True  # an edit list hides it, but the next frames are predicted from it
        for picture in pictures:
            if picture.is_corrupt:
                whole = False
            elif picture.key_frame:
                whole = True
            if started:
                yield picture, whole


def _decoded(video: OpenVideo, packet: Any) -> tuple[bool, list[Any]]:
    if packet.size and is_zeroed(video, packet):
        return True, []
    try:
        return False, packet.decode()
    except (av.FFmpegError, ValueError):
        return True, []


def demux(video: OpenVideo) -> Iterator[Any]:
    """Yield the packets of the video stream; unreadable parts of the file are skipped and counted."""
    for _ in range(_MAX_DEMUX_ERRORS):
        try:
            yield from video.container.demux(video.stream)
            return
        except (av.InvalidDataError, IndexError):  # IndexError: damaged bytes that look like a new stream
            video.num_bad += 1
        except (av.FFmpegError, OSError):
            video.num_bad += 1
            return
