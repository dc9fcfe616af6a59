"""Folders of pictures as videos: three per second, in the order of their names, as one source of MVBench has them."""

from pathlib import Path

from sg.video.frames import EMPTY, UNREADABLE, Frames, ReaderLimits, UnreadableVideoError, VideoInfo, check_indices
from sg.video.sampling import FramePolicy, Timeline

FPS = 3.0
SUFFIXES = (".jpg", ".jpeg", ".png")


def read(folder: Path, choose: FramePolicy, limits: ReaderLimits) -> Frames:
    """The pictures that `choose` picks, all in the size of the first one.

    Raises:
        UnreadableVideoError: the folder has no pictures, or one of them cannot be read or is too large.
    """
    import numpy as np
    from PIL import Image

    paths = picture_files(folder)
    chosen = check_indices(folder, choose(Timeline(len(paths), FPS)), len(paths))
    pictures = {}
    size: tuple[int, int] | None = None
    for index in sorted(set(chosen)):
        try:
            with Image.open(paths[index]) as image:
                if image.width * image.height > limits.max_pixels:
                    raise ValueError(f"{image.width}x{image.height} pixels are too many")
                shown = image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UnreadableVideoError(UNREADABLE, f"{folder.name}/{paths[index].name}: {error}") from error
        size = size or shown.size
        pictures[index] = np.asarray(shown if shown.size == size else shown.resize(size))
    frames = np.stack([pictures[index] for index in chosen])
    height, width = frames.shape[1:3]
    return Frames(
        frames, tuple(chosen), FPS, len(paths), len(paths) / FPS, width, height,
        rotation=0, codec="pictures", num_bad=0, num_substituted=0,
    )  # fmt: skip


def probe(folder: Path, limits: ReaderLimits) -> VideoInfo:
    """Count the pictures and read the first one; raises the errors of `read`."""
    first = read(folder, lambda timeline: [0], limits)
    return VideoInfo(
        first.num_frames, FPS, first.duration_s, first.width, first.height, 0, first.codec, "folder", first.num_frames
    )


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder by name; UnreadableVideoError if there are none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UnreadableVideoError(EMPTY, f"{folder.name}: the folder has no pictures ({', '.join(SUFFIXES)})")
    return paths
