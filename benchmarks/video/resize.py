"""CPU time of resizing 8 frames of 640x360 to 224x224, and the difference of each way from torch's float kernel.

python benchmarks/video/resize.py
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.video.frame_readers import cpu_ms
from benchmarks.video.videos import FPS, make_video
from sg.video.reader import read_frames
from sg.video.resize import resize
from sg.video.sampling import MiddleOfSegments

SIZE = 224


def by_torch(frames: NDArray[np.uint8], *, in_float: bool) -> NDArray[np.uint8]:
    """[T, SIZE, SIZE, 3] by torch's antialiased bicubic kernel for floats or for bytes."""
    import torch
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    pixels = pixels.float() if in_float else pixels
    resized = interpolate(pixels, (SIZE, SIZE), mode="bicubic", align_corners=False, antialias=True)
    values: NDArray[np.uint8] = resized.clamp(0, 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return values


def main() -> None:
    """Print the table, for the frames of a video and for noise."""

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder) / "clip.mp4", 10, 10 * FPS)
        pictures = {"video": read_frames(video, MiddleOfSegments(8)).frames}
    pictures["noise"] = np.random.default_rng(0).integers(0, 256, pictures["video"].shape, dtype=np.uint8)
    print("| frames | way | ms | of torch's float kernel | other pixels | most, grey levels |")
    print("|---|---|---:|---:|---:|---:|")
    for name, frames in pictures.items():
        ways = {
            "torch, float": lambda frames=frames: by_torch(frames, in_float=True),
            "torch, uint8": lambda frames=frames: by_torch(frames, in_float=False),
            "ours": lambda frames=frames: resize(frames, SIZE, SIZE),
        }
        exact = ways["torch, float"]().astype(int)
        off = {way: np.abs(act() - exact) for way, act in ways.items()}
        times = cpu_ms(ways, 12)
        for way, spent in times.items():
            share, most = (off[way] > 0).mean(), off[way].max()
            print(f"| {name} | {way} | {spent:.1f} | {spent / times['torch, float']:.2f} | {share:.2e} | {most} |")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0]).parse_args()
    main()
