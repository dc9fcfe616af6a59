"""CPU time of the frame readers, from mp4 to frames.

    python benchmarks/video/frame_readers.py --seconds 10 60 --gop 250

Films are H.264, 640x360, 25 frames a second. Decord is measured without the checks and the process that the reader puts
around it, so its column is what the library alone takes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.video.decord_reader import decode_with_decord
from sg.video.reader import read_frames
from sg.video.sampling import MiddleOfSegments, middle_of_segments
from sg.video.writer import write_video

WIDTH, HEIGHT, FPS = 640, 360, 25


def make_film(path: Path, seconds: int, gop: int) -> Path:
    """A film of moving stripes and noise."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.default_rng(0).integers(0, 24, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames = np.empty((seconds * FPS, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(len(frames)):
        stripes = 100 + 80 * np.sin((columns + 4 * number) / 40) * np.cos((rows - number) / 30)
        frames[number] = stripes[..., None].astype(np.uint8) + np.roll(noise, number, axis=1)
    return write_video(path, frames, FPS, options={"preset": "veryfast", "crf": "28", "g": str(gop), "bf": "2"})


def cpu_ms(act: Callable[[], object], repeats: int) -> float:
    """Median CPU time of a call in milliseconds, all threads of the process counted."""
    act()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        act()
        times.append(time.process_time() - started)
    return float(np.median(times)) * 1000


def main(seconds: Sequence[int], gop: int, repeats: int) -> None:
    """Print a row a film and number of frames."""
    print(f"{'film':>6} {'frames':>6} {'pyav ms':>8} {'decord ms':>9} {'pyav / decord':>13}")
    with tempfile.TemporaryDirectory() as folder:
        for length in seconds:
            film = make_film(Path(folder) / f"{length}.mp4", length, gop)
            for count in (8, 64):
                print(f"{length:>4} s {row(film, count, length * FPS, repeats)}", flush=True)


def row(film: Path, count: int, num_frames: int, repeats: int) -> str:
    """The numbers of one film and number of frames."""
    indices = middle_of_segments(count, num_frames)
    pyav = cpu_ms(lambda: read_frames(film, MiddleOfSegments(count)), repeats)
    decord = cpu_ms(lambda: decode_with_decord(film, indices, num_frames), repeats)
    return f"{count:>6} {pyav:>8.1f} {decord:>9.1f} {pyav / decord:>13.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 60], help="lengths of the films")
    parser.add_argument("--gop", type=int, default=250, help="frames between two key frames")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.gop, arguments.repeats)
