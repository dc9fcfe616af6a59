"""Pictures of the gallery's clusters: a strip a cluster, drawn in processes that a damaged film may take down."""

import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.manifest import VideoRecord, video_path
from sg.core.errors import SgError
from sg.core.files import atomic_path
from sg.core.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

GRID = 3
"""Frames of a member are shown as GRID x GRID."""
TILE = 144
"""Pixels of a member's longer side."""
GAP = 6
TIMEOUT_S = 300.0
GREY, INK = (190, 193, 198), (60, 62, 66)


@dataclass(frozen=True, slots=True)
class Strip:
    """A picture to draw: the films of a cluster's members, or (empty path) why there is none to read."""

    path: str
    films: tuple[tuple[str, str], ...]
    """(path, reason) a member."""


def plan_strip(path: Path, members: Sequence[str], records: Mapping[str, VideoRecord], videos: Path) -> Strip:
    """The strip of the cluster with these members, to be written to `path`."""
    return Strip(str(path), tuple(_film(records.get(member), videos) for member in members))


def _film(record: VideoRecord | None, videos: Path) -> tuple[str, str]:
    if record is None:
        return "", "not in the manifest"
    return ("", record.status) if record.status != "ok" else (str(video_path(videos, record)), "")


def draw_strips(strips: Iterable[Strip], total: int) -> int:
    """Draw every strip; returns how many could not be drawn at all (their film hung or took its reader down)."""
    from sg.video.workers import WorkerPool

    failed = 0
    workers = min(os.cpu_count() or 1, max(1, total))
    with WorkerPool(draw_strip, workers, TIMEOUT_S) as pool, Progress("gallery", total, "clusters") as bar:
        for strip, outcome in pool.map(strips):
            if isinstance(outcome, SgError):
                log.warning("gallery: %s has no picture: %s", Path(strip.path).name, outcome)
                failed += 1
            bar.advance()
    return failed


def draw_strip(strip: Strip) -> None:
    """Write the strip as JPEG: members side by side; one that cannot be shown is a grey tile with the reason."""
    from PIL import Image

    tiles = [_tile(film, reason) for film, reason in strip.films]
    width = sum(tile.width for tile in tiles) + GAP * (len(tiles) - 1)
    sheet = Image.new("RGB", (width, max(tile.height for tile in tiles)), (255, 255, 255))
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width + GAP
    stream = io.BytesIO()
    sheet.save(stream, format="JPEG", quality=78)
    with atomic_path(Path(strip.path)) as temporary:
        temporary.write_bytes(stream.getvalue())


def _tile(film: str, reason: str) -> "Image":
    """The frames of a film as a grid, or a grey tile with the reason."""
    from sg.video.frames import UnreadableVideoError
    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    if film:
        try:
            return frame_grid(read_frames(Path(film), MiddleOfSegments(GRID * GRID)).frames, TILE // GRID)
        except UnreadableVideoError as error:
            reason = f"{error.status} video"
    from PIL import Image, ImageDraw

    tile = Image.new("RGB", (TILE, TILE), GREY)
    ImageDraw.Draw(tile).text((8, TILE // 2 - 6), reason, fill=INK)
    return tile


def frame_grid(frames: NDArray[np.uint8], longest: int) -> "Image":
    """Frames [GRID*GRID, H, W, 3] as one picture in reading order, each at most `longest` pixels wide and high."""
    from PIL import Image

    height, width = frames.shape[1:3]
    factor = min(1.0, longest / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    grid = Image.new("RGB", (GRID * size[0], GRID * size[1]))
    for number, frame in enumerate(frames):
        picture = Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
        grid.paste(picture, (number % GRID * size[0], number // GRID * size[1]))
    return grid
