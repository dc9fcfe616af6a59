"""Cutting clips out of long videos, exact to the frame.

The frames are decoded and encoded again: copied packets could begin at key frames only.
"""

import errno
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from sg.core.files import atomic_path
from sg.video.frames import UNREADABLE, ReaderLimits, UnreadableVideoError
from sg.video.mp4_index import presumed_header
from sg.video.open_video import INDEXED_CONTAINERS, STAMPED_CONTAINERS, OpenVideo, decode, open_video_file
from sg.video.orientation import as_shown, orientation
from sg.video.packets import Packets, read_header

_CLOCK = Fraction(1, 90_000)
"""Resolution of the times in a clip, that of MPEG: every usual frame rate is exact in it."""
_FALLBACK_RATE = Fraction(25)

Shown = tuple[Any, Fraction]
"""A picture and the second at which it is shown, from the start of the video."""


def cut_clip(source_path: Path, target: Path, start_ms: int, end_ms: int) -> Path:
    """Write the frames that `source_path` shows from `start_ms` up to `end_ms` to `target`, whole or not at all.

    The clip is H.264 in mp4 with the times of the source, rotated as shown, without sound. An odd last row or column
    is cut off, because the pixel format needs even sizes.

    Raises:
        UnreadableVideoError: the source cannot be read, has no whole frame in that range, or cannot be encoded.
    """
    import av

    target.parent.mkdir(parents=True, exist_ok=True)
    start, end = Fraction(start_ms, 1000), Fraction(end_ms, 1000)
    try:
        with atomic_path(target) as temporary:
            if not (
                _cut(source_path, temporary, start, end, seek=True)
                or _cut(source_path, temporary, start, end, seek=False)
            ):
                span = f"{start_ms / 1000:g} s to {end_ms / 1000:g} s"
                raise UnreadableVideoError(UNREADABLE, f"{source_path.name}: no whole frame from {span}")
    except (av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UnreadableVideoError(UNREADABLE, f"{source_path.name}: cannot be cut ({error})") from error
    return target


def _cut(source_path: Path, target: Path, start: Fraction, end: Fraction, seek: bool) -> int:
    """Write the clip; returns its number of frames, 0 where seeking does not lead to the first one."""
    packets = _packets(source_path) if seek else None
    if seek and packets is None:
        return 0
    with open_video_file(source_path, ReaderLimits()) as video:
        pictures = _by_seeking(video, packets, start, end) if packets is not None else _from_start(video, start, end)
        return _write(target, pictures, video.stream.average_rate or _FALLBACK_RATE)


def _packets(path: Path) -> Packets | None:
    """The time stamps of the frames; None where they cannot be trusted or seeking is not exact."""
    with open_video_file(path, ReaderLimits()) as video:
        if video.container.format.name not in INDEXED_CONTAINERS:
            return None
        presumed = presumed_header(video)
        packets = presumed[0].packets if presumed else read_header(video).packets
    return packets if packets.stamps else None


def _by_seeking(video: OpenVideo, packets: Packets, start: Fraction, end: Fraction) -> Iterator[Shown]:
    base, stamps = video.stream.time_base, packets.stamps
    # The first shown frame is at 0 s. The start time of the stream is that of another frame where a file is fragmented.
    first = bisect_left(stamps, stamps[0] + start / base)
    if first == len(stamps):
        return
    key = packets.keys[max(0, bisect_right(packets.keys, stamps[first]) - 1)]
    if not video.seek(key):
        return
    is_exact = False
    for picture, whole in decode(video):
        if picture is None or picture.pts is None:
            continue
        time = (picture.pts - stamps[0]) * base
        if time >= end:
            return
        is_exact = is_exact or (whole and picture.pts == stamps[first])
        if whole and time >= start:
            if not is_exact:
                return
            yield picture, time


def _from_start(video: OpenVideo, start: Fraction, end: Fraction) -> Iterator[Shown]:
    """By time stamps where the container has those of showing, else by counting frames, as in an AVI."""
    base, origin = video.stream.time_base, None
    rate = video.stream.average_rate or video.stream.guessed_rate or _FALLBACK_RATE
    is_stamped = video.container.format.name in (*STAMPED_CONTAINERS, *INDEXED_CONTAINERS)
    for position, (picture, whole) in enumerate(decode(video)):
        if picture is None or (is_stamped and picture.pts is None):
            continue
        if is_stamped:
            origin = picture.pts if origin is None else origin
        time = (picture.pts - origin) * base if is_stamped else position / rate
        if time >= end:
            return
        if whole and time >= start:
            yield picture, time


def _write(path: Path, pictures: Iterator[Shown], rate: Fraction) -> int:
    """Encode the pictures; returns how many there were."""
    import av
    import numpy as np

    count, first, size, last = 0, Fraction(0), (0, 0), -1
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.options = {"preset": "veryfast", "crf": "18"}
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.codec_context.time_base = _CLOCK
        for picture, time in pictures:
            image = as_shown(picture.to_ndarray(format="rgb24"), *orientation(picture))
            if not count:
                first, size = time, (image.shape[0] // 2 * 2, image.shape[1] // 2 * 2)
                stream.height, stream.width = size
            elif image.shape[0] < size[0] or image.shape[1] < size[1]:
                break  # the size changes within the file: the rest is another video
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[: size[0], : size[1]]), format="rgb24")
            last = max(last + 1, round((time - first) / _CLOCK))  # the encoder needs rising times
            frame.pts, frame.time_base = last, _CLOCK
            container.mux(stream.encode(frame))
            count += 1
        if count:
            container.mux(stream.encode())
    return count
