"""CPU time of the frame readers in one run, from mp4 to frames and from mp4 to the model's pixels.

    python benchmarks/video/frame_readers.py
    python benchmarks/video/frame_readers.py --seconds 10 60 --gop 12

Videos are H.264, 640x360, 25 frames per second. Decord and torchcodec are measured without the checks and the process
that the reader puts around them: their columns are the time of the libraries alone. The last column is the time of
`auto` over that of the fastest. Torchcodec needs the shared libraries of FFmpeg; its column is empty where it cannot be
loaded.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.video.videos import FPS, make_video
from sg.artefacts.manifest import VideoRecord
from sg.core.errors import ConfigError
from sg.embed.video_files import FrameSettings, read_video
from sg.video.decord_reader import decode_with_decord
from sg.video.reader import read_frames
from sg.video.sampling import MiddleOfSegments, middle_of_segments
from sg.video.torchcodec_reader import decode_with_torchcodec

COUNTS = (8, 64)
CLIP_S = 18


def cpu_ms(acts: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Smallest CPU time of each call in milliseconds, summed over all threads of the process.

    The calls alternate, so that other load on the machine affects all of them, and the smallest time is taken.
    """
    times: dict[str, float] = {}
    for _ in range(repeats):
        for name, act in acts.items():
            gc.collect()
            started = time.process_time()
            try:
                act()
            except ConfigError:
                times[name] = float("nan")
                continue
            times[name] = min(times.get(name, float("inf")), (time.process_time() - started) * 1000)
    return times


def compare(video: Path, seconds: int, count: int, repeats: int) -> str:
    """One row of the table: one video and number of frames."""
    indices, num_frames = middle_of_segments(count, seconds * FPS), seconds * FPS
    times = cpu_ms(
        {
            "auto": lambda: read_frames(video, MiddleOfSegments(count)),
            "decord": lambda: decode_with_decord(video, indices, num_frames),
            "torchcodec": lambda: decode_with_torchcodec(video, indices, num_frames),
        },
        repeats,
    )
    ratio = times["auto"] / np.nanmin([times["decord"], times["torchcodec"]])
    cells = " | ".join(f"{value:10.1f}" for value in times.values())
    return f"| {seconds:>6} s | {count:>6} | {cells} | {ratio:11.2f} |"


def clips_per_second(folder: Path, gop: int, preset: str, repeats: int) -> float:
    """Clips per second that one core converts from mp4 to 8 frames of 224 pixels."""
    make_video(folder / "clip.mp4", CLIP_S, gop, preset)
    record, settings = VideoRecord("clip", "benchmark", "clip.mp4"), FrameSettings(folder, 8, 224, True, "auto")
    return 1000 / cpu_ms({"clip": lambda: read_video(settings, record)}, repeats)["clip"]


def main(seconds: Sequence[int], gop: int, repeats: int) -> None:
    """Print the table."""
    print("| video | frames | auto, ms | decord, ms | torchcodec, ms | auto / best |\n|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for length in seconds:
            video = make_video(Path(folder) / f"{length}.mp4", length, gop)
            for count in COUNTS:
                print(compare(video, length, count, repeats if length < 600 else max(1, repeats // 3)), flush=True)
            video.unlink()
        print(f"\nclips of {CLIP_S} s per second and core, from mp4 to 8 frames of 224 pixels:")
        for preset in ("ultrafast", "veryfast", "medium"):
            print(f"  x264 {preset}: {clips_per_second(Path(folder), gop, preset, 3 * repeats):.1f}", flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 60, 600, 3600], help="lengths of the videos")
    parser.add_argument("--gop", type=int, default=250, help="frames between two key frames")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    main(arguments.seconds, arguments.gop, arguments.repeats)
