"""Makes videos that show their frame number in the picture, in every container and codec that PyAV can write."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

_BITS = 12


def numbered_frame(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A picture whose upper half shows `number` as 2 x 6 black or white blocks, over a moving pattern."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = (rows * 3 + number * 5) % 256
    green = (columns * 2 + number * 7) % 256
    blue = 128 + 60 * np.sin((rows + columns + 3 * number) / 9)
    picture = np.stack([red, green, blue], axis=-1).astype(np.uint8)
    for bit in range(_BITS):
        top, left = (bit // 6) * height // 4, (bit % 6) * width // 6
        shade = 235 if number >> bit & 1 else 20
        picture[top : top + height // 4, left : left + width // 6] = shade
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that a decoded picture shows; -1 when a block is neither black nor white."""
    height, width = picture.shape[:2]
    number = 0
    for bit in range(_BITS):
        row, column = (bit // 6) * height / 4 + height / 8, (bit % 6 + 0.5) * width / 6
        patch = picture[int(row) - 1 : int(row) + 2, int(column) - 1 : int(column) + 2]
        shade = patch.mean()
        if 90 < shade < 165:
            return -1
        number |= (shade > 128) << bit
    return number


def make_video(
    path: Path,
    num_frames: int = 60,
    *,
    codec: str = "libx264",
    width: int = 96,
    height: int = 64,
    fps: float = 25,
    pixel_format: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    container: str | None = None,
    stamps: Sequence[int] | None = None,
    rotation: int = 0,
    audio: bool = False,
    mux_options: Mapping[str, str] | None = None,
) -> Path:
    """Encode a numbered video; `stamps` (in 1/1000 s) make its rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with own_scheduling(), av.open(str(path), "w", format=container, options=dict(mux_options or {})) as output:
        stream = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        sound = output.add_stream("aac" if path.suffix != ".avi" else "mp2", rate=44100) if audio else None
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, width, height), format="rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound is not None:
            _add_silence(output, sound, num_frames / fps)
    return path


@contextlib.contextmanager
def own_scheduling() -> Iterator[None]:
    """Restore the scheduling policy of this process after the block.

    The AV1 encoder SVT gives the calling thread real-time priority 99 when root runs it, and never takes it back. All
    later child processes inherit it: one that is busy then starves the whole machine.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def make_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with sound and without a picture."""
    with av.open(str(path), "w") as output:
        _add_silence(output, output.add_stream("aac", rate=44100), seconds)
    return path


def _add_silence(output: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = np.zeros((1, 1024), np.float32)
    for block in range(int(seconds * 44100 / 1024)):
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, block * 1024
        output.mux(stream.encode(frame))
    output.mux(stream.encode())


def cut_by_copy(source: Path, path: Path, start: int) -> Path:
    """Copy packets so that the video begins within a group of pictures: mp4 hides the frames before by an edit list."""
    with av.open(str(source)) as video, av.open(str(path), "w") as output:
        stream = video.streams.video[0]
        copy = output.add_stream_from_template(stream)
        packets = [packet for packet in video.demux(stream) if packet.size]
        shown = sorted(packet.pts for packet in packets)
        first = max(packet.pts for packet in packets if packet.is_keyframe and packet.pts <= shown[start])
        for packet in packets[[packet.pts for packet in packets].index(first) :]:
            packet.pts, packet.dts = packet.pts - shown[start], packet.dts - shown[start]
            packet.stream = copy
            output.mux(packet)
    return path


def with_still_first(source: Path, path: Path, codec: str = "mjpeg") -> Path:
    """Copy a video behind a stream of one picture that is not marked as a cover."""
    with av.open(str(source)) as video, av.open(str(path), "w") as output:
        still = output.add_stream(codec, rate=25)
        still.width, still.height = 64, 64
        still.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
        stream = video.streams.video[0]
        copy = output.add_stream_from_template(stream)
        packets = [packet for packet in video.demux(stream) if packet.size]
        output.mux(still.encode(av.VideoFrame.from_ndarray(numbered_frame(4095, 64, 64), format="rgb24")))
        output.mux(still.encode())
        for packet in packets:
            packet.stream = copy
            output.mux(packet)
    return path


def make_held(path: Path, held: Sequence[int], codec: str = "mpeg4", fps: int = 25) -> Path:
    """An AVI that shows frame n for `held[n]` frames: the writer fills gaps in time by packets of 0 bytes."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=fps, options={"bf": "0"})
        stream.width, stream.height, stream.thread_count = 96, 64, 1
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(len(held)):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = sum(held[:number]), Fraction(1, fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def with_avi_count(source: Path, path: Path, count: int) -> Path:
    """A copy of an AVI whose headers name `count` frames."""
    data = bytearray(source.read_bytes())
    for place in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[place : place + 4] = count.to_bytes(4, "little")
    path.write_bytes(data)
    return path


B_FRAMES = {"g": "12", "bf": "3"}
ALT_REF = {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "b": "200k"}
VIDEOS: dict[str, dict[str, Any]] = {
    "short_gop.mp4": {"options": {"g": "5", "bf": "0"}},
    "long_gop.mp4": {"options": {"g": "250", "bf": "0"}},
    "b_frames.mp4": {"options": B_FRAMES},
    "open_gop.mp4": {"options": B_FRAMES | {"x264-params": "open-gop=1"}},
    "faststart.mp4": {"options": B_FRAMES, "mux_options": {"movflags": "faststart"}},
    "fragmented.mp4": {"options": {"g": "12"}, "mux_options": {"movflags": "frag_keyframe+empty_moov"}},
    "sound.mp4": {"audio": True},
    "variable_rate.mp4": {"stamps": [sum(40 + (i % 5) * 30 for i in range(n)) for n in range(60)]},
    "odd_size.mp4": {"width": 97, "height": 65, "pixel_format": "yuv444p"},
    "narrow.mp4": {"width": 48, "height": 48},
    "mpeg4.mp4": {"codec": "mpeg4", "options": B_FRAMES},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=12:bframes=3:open-gop=0"}},
    "hevc_open.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=12:bframes=3:open-gop=1"}},
    "vp8.webm": {"codec": "libvpx", "options": ALT_REF | {"cpu-used": "4"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": ALT_REF | {"cpu-used": "8"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"g": "20", "preset": "11"}},
    "h264.mkv": {"options": B_FRAMES},
    "variable_rate.mkv": {"options": B_FRAMES, "stamps": [sum(40 + (i % 7) * 50 for i in range(n)) for n in range(60)]},
    "ffv1.mkv": {"codec": "ffv1"},
    "h264.ts": {"options": B_FRAMES},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"g": "12", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}, "container": "vob"},
    "h264.avi": {"options": B_FRAMES},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "h264.flv": {"options": B_FRAMES},
    "wmv2.asf": {"codec": "wmv2"},
    "animation.gif": {"codec": "gif", "pixel_format": "rgb8"},
}
NUM_FRAMES = 60


def build_zoo(folder: Path) -> dict[str, Path]:
    """Every video of the zoo, of `NUM_FRAMES` frames each."""
    return {name: make_video(folder / name, NUM_FRAMES, **settings) for name, settings in VIDEOS.items()}
