"""Writing video files: H.264 in mp4 through PyAV, for the demo world, examples and tests."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.errors import DataError
from sg.core.files import atomic_path
from sg.core.places.ranges import opened

_SOUND_RATE, _SOUND_BITS = 24_000, 48_000
"""Samples and bits per second of the sound of a video: enough for speech."""

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def write_video(
    path: Path,
    frames: NDArray[np.uint8],
    fps: float,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    sound_of: Path | None = None,
) -> Path:
    """Write `frames` (uint8 [T, H, W, 3], RGB) as a video of `fps` frames per second, whole or not at all.

    `options` are passed to the encoder (default: x264 preset ultrafast, crf 18). The suffix of `path` decides the
    container. The encoder has one thread, so that the same frames give the same bytes. `sound_of` is a video whose
    first sound track is written as well, as AAC in mono up to the end of the frames; a track that cannot be decoded is
    left out.

    Raises:
        DataError: `frames` have another shape or dtype, or an odd width or height with yuv420p.
    """
    import av

    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype.name != "uint8" or not len(frames):
        raise DataError(f"cannot write {path}: frames are {frames.dtype} {frames.shape}, expected uint8 [T, H, W, 3]")
    if pixel_format == "yuv420p" and (frames.shape[1] % 2 or frames.shape[2] % 2):
        size = f"{frames.shape[2]}x{frames.shape[1]}"
        raise DataError(f"cannot write {path}: yuv420p needs an even width and height, got {size}")
    default = {"preset": "ultrafast", "crf": "18"} if codec == "libx264" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, durable=False) as temporary:
        suffix, encoder = path.suffix.lstrip("."), dict(options or default)
        try:
            _encode(av, temporary, suffix, frames, fps, codec, pixel_format, encoder, sound_of)
        except av.FFmpegError:
            if sound_of is None:
                raise
            _encode(av, temporary, suffix, frames, fps, codec, pixel_format, encoder, None)
    return path


def _encode(
    av: Any,
    path: Path,
    suffix: str,
    frames: NDArray[np.uint8],
    fps: float,
    codec: str,
    pixel_format: str,
    options: dict[str, str],
    sound_of: Path | None,
) -> None:
    container_format = {"mkv": "matroska", "ts": "mpegts", "mpg": "mpeg", "m4v": "mp4"}.get(suffix, suffix)
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(60_000), options=options)
        stream.height, stream.width = frames.shape[1], frames.shape[2]
        stream.pix_fmt = pixel_format
        stream.thread_count = 1
        if sound_of is not None:
            _encode_sound(av, container, sound_of, len(frames) / fps)
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _encode_sound(av: Any, container: Any, source: Path, seconds: float) -> None:
    with opened(source) as file, av.open(file) as video:
        tracks = video.streams.audio
        if not tracks:
            return
        sound = container.add_stream("aac", rate=_SOUND_RATE, layout="mono", bit_rate=_SOUND_BITS)
        for frame in video.decode(tracks[0]):
            if frame.time is not None and frame.time >= seconds:
                break
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
