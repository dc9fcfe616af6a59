"""Pictures of clusters: a few frames of each shown member, drawn in processes that a damaged video file may crash."""

import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.manifest import Manifest, VideoRecord, video_path
from sg.core.errors import SgError
from sg.core.files import atomic_path
from sg.core.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

GRID = 3
"""A member is shown as GRID x GRID frames."""
TILE = 144
"""Pixels of the longer side of a member."""
GAP = 6
TIMEOUT_S = 300.0
GREY, INK = (190, 193, 198), (60, 62, 66)


@dataclass(frozen=True, slots=True)
class ClusterPicture:
    """A picture to draw at `path`: for each shown member its video file, or an empty path and the reason for it."""

    path: str
    files: tuple[tuple[str, str], ...]


def video_records(manifest: Manifest, videos: Sequence[str]) -> dict[str, VideoRecord]:
    """Return the manifest rows of `videos`; ids that left the manifest since the forest was made are left out."""
    known = set(manifest.video_ids)
    wanted = manifest.select(dict.fromkeys(video for video in videos if video in known))
    return {record.video_id: record for record in wanted.records()}


def plan_picture(
    path: Path, members: Sequence[str], records: Mapping[str, VideoRecord], videos: Path
) -> ClusterPicture:
    """Return the picture of the cluster with these members, to be written to `path`."""
    return ClusterPicture(str(path), tuple(_file(records.get(member), videos) for member in members))


def _file(record: VideoRecord | None, videos: Path) -> tuple[str, str]:
    if record is None:
        return "", "not in the manifest"
    return ("", record.status) if record.status != "ok" else (str(video_path(videos, record)), "")


def draw_pictures(pictures: Iterable[ClusterPicture], total: int) -> int:
    """Draw every picture in worker processes; return how many failed because a file hung or crashed its worker."""
    from sg.video.workers import WorkerPool

    failed = 0
    workers = min(os.cpu_count() or 1, max(1, total))
    with WorkerPool(draw_picture, workers, TIMEOUT_S) as pool, Progress("gallery", total, "clusters") as bar:
        for picture, outcome in pool.map(pictures):
            if isinstance(outcome, SgError):
                log.warning("gallery: %s has no picture: %s", Path(picture.path).name, outcome)
                failed += 1
            bar.advance()
    return failed


def draw_picture(picture: ClusterPicture) -> None:
    """Write the members side by side as JPEG; a member that cannot be shown is a grey tile with the reason."""
    from PIL import Image

    tiles = [_tile(file, reason) for file, reason in picture.files]
    width = sum(tile.width for tile in tiles) + GAP * (len(tiles) - 1)
    sheet = Image.new("RGB", (width, max(tile.height for tile in tiles)), (255, 255, 255))
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width + GAP
    stream = io.BytesIO()
    sheet.save(stream, format="JPEG", quality=78)
    with atomic_path(Path(picture.path), durable=False) as temporary:
        temporary.write_bytes(stream.getvalue())


def _tile(file: str, reason: str) -> "Image":
    """The frames of a video file as a grid, or a grey tile with the reason."""
    from sg.video.frames import UnreadableVideoError
    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    if file:
        try:
            return frame_grid(read_frames(Path(file), MiddleOfSegments(GRID * GRID)).frames, TILE // GRID)
        except UnreadableVideoError as error:
            reason = f"{error.status} video"
    from PIL import Image, ImageDraw

    tile = Image.new("RGB", (TILE, TILE), GREY)
    ImageDraw.Draw(tile).text((8, TILE // 2 - 6), reason, fill=INK)
    return tile


def frame_grid(frames: NDArray[np.uint8], longest: int) -> "Image":
    """Return frames [GRID*GRID, H, W, 3] as one picture in reading order; no side of one exceeds `longest` pixels."""
    from PIL import Image

    height, width = frames.shape[1:3]
    factor = min(1.0, longest / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    grid = Image.new("RGB", (GRID * size[0], GRID * size[1]))
    for number, frame in enumerate(frames):
        picture = Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
        grid.paste(picture, (number % GRID * size[0], number // GRID * size[1]))
    return grid
