"""Makes videos for the measurements: ten seconds are encoded, and their packets repeated up to the wanted length."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FPS = 640, 360, 25
SEGMENT_S = 10


def make_video(path: Path, seconds: int, gop: int = 250, preset: str = "medium") -> Path:
    """A video of moving stripes and noise, H.264, 640x360, 25 frames per second."""
    segment = path.with_name(f"segment-{gop}-{preset}.mp4")
    if not segment.exists():
        _encode(segment, gop, preset)
    with av.open(str(segment)) as source, av.open(str(path), "w") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        length = round(SEGMENT_S / stream.time_base)
        stamps = [(packet.pts, packet.dts) for packet in packets]
        for start in range(0, seconds, SEGMENT_S):
            shift = start // SEGMENT_S * length
            for packet, (pts, dts) in zip(packets, stamps, strict=True):
                if pts * stream.time_base + start < seconds:
                    packet.pts, packet.dts, packet.stream = pts + shift, dts + shift, copy
                    output.mux(packet)
    return path


def _encode(path: Path, gop: int, preset: str) -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.default_rng(0).integers(0, 24, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    options = {"preset": preset, "crf": "28", "g": str(gop)}
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.thread_count = 1
        for number in range(SEGMENT_S * FPS):
            stripes = 100 + 80 * np.sin((columns + 4 * number) / 40) * np.cos((rows - number) / 30)
            picture = stripes[..., None].astype(np.uint8) + np.roll(noise, number, axis=1)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
