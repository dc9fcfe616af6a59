"""Cutting clips out of long videos, exact to the frame.

The frames are decoded and encoded again: copied packets could begin at key frames only.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from sg.core.files import atomic_path
from sg.video.frames import UNREADABLE, ReaderLimits, UnreadableVideoError
from sg.video.open_video import INDEXED_CONTAINERS, OpenVideo, decode, open_video_file


def cut_clip(source_path: Path, target: Path, start_ms: int, end_ms: int) -> Path:
    """Write the frames that `source_path` shows from `start_ms` up to `end_ms` to `target`, whole or not at all.

    The clip is H.264 in mp4 with the times of the source, rotated as shown, without sound. An odd last row or column
    is cut off, because the pixel format needs even sizes.

    Raises:
        UnreadableVideoError: the source cannot be read, or has no whole frame in that range.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_video_file(source_path, ReaderLimits()) as video, atomic_path(target) as temporary:
        if not _write(temporary, _pictures(video, start_ms, end_ms), video.stream):
            span = f"{start_ms / 1000:g} s to {end_ms / 1000:g} s"
            raise UnreadableVideoError(UNREADABLE, f"{source_path.name}: no whole frame from {span}")
    return target


def _pictures(video: OpenVideo, start_ms: int, end_ms: int) -> Iterator[Any]:
    base, origin = video.stream.time_base, video.stream.start_time or 0
    first, last = (origin + Fraction(time, 1000) / base for time in (start_ms, end_ms))
    if start_ms and video.container.format.name in INDEXED_CONTAINERS:  # seeking is not exact in others
        video.seek(int(first))  # where this fails, decoding from the start reaches the clip too
    for picture, whole in decode(video):
        if picture is None or picture.pts is None:
            continue
        if picture.pts >= last:
            return
        if whole and picture.pts >= first:
            yield picture


def _write(path: Path, pictures: Iterator[Any], source: Any) -> int:
    """Encode the pictures; returns how many there were."""
    import av
    import numpy as np

    count, start, size = 0, 0, (0, 0)
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=source.average_rate or 25)
        stream.options = {"preset": "veryfast", "crf": "18"}
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.codec_context.time_base = source.time_base
        for picture in pictures:
            image = np.rot90(picture.to_ndarray(format="rgb24"), round(picture.rotation / 90) % 4)
            if not count:
                start, size = picture.pts, (image.shape[0] // 2 * 2, image.shape[1] // 2 * 2)
                stream.height, stream.width = size
            elif image.shape[0] < size[0] or image.shape[1] < size[1]:
                break  # the size changes within the file: the rest is another video
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[: size[0], : size[1]]), format="rgb24")
            frame.pts, frame.time_base = picture.pts - start, source.time_base
            container.mux(stream.encode(frame))
            count += 1
        if count:
            container.mux(stream.encode())
    return count
