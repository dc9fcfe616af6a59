"""Pictures of the members of clusters: frames of a video, drawn in processes that a damaged video file may crash."""

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
from sg.report.figures.fonts import text_font

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

GRID = 3
"""A member is shown as GRID x GRID frames."""
TILE = 384
"""Pixels of the longer side of a member, which the gallery shows small and enlarges."""
TIMEOUT_S = 300.0
GREY, INK = (190, 193, 198), (60, 62, 66)


@dataclass(frozen=True, slots=True)
class ClusterPicture:
    """The pictures to draw of a cluster: path, and video file of a member, or an empty file and the reason for it."""

    members: tuple[tuple[str, str, str], ...]


def video_records(manifest: Manifest, videos: Sequence[str]) -> dict[str, VideoRecord]:
    """Return the manifest rows of `videos`; ids that left the manifest since the forest was made are left out."""
    known = set(manifest.video_ids)
    wanted = manifest.select(dict.fromkeys(video for video in videos if video in known))
    return {record.video_id: record for record in wanted.records()}


def plan_picture(
    paths: Sequence[Path], members: Sequence[str], records: Mapping[str, VideoRecord], videos: Path
) -> ClusterPicture:
    """Return the pictures of a cluster with these members, to be written to `paths`."""
    pairs = zip(paths, members, strict=True)
    return ClusterPicture(tuple((str(path), *_file(records.get(member), videos)) for path, member in pairs))


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
                log.warning("gallery: %s has no pictures: %s", Path(picture.members[0][0]).name, outcome)
                failed += 1
            bar.advance()
    return failed


def draw_picture(picture: ClusterPicture) -> None:
    """Write a JPEG of each member; one that cannot be shown is a grey tile with the reason."""
    for path, file, reason in picture.members:
        stream = io.BytesIO()
        _tile(file, reason).save(stream, format="JPEG", quality=78)
        with atomic_path(Path(path), durable=False) as temporary:
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
    return grey_tile(TILE, reason)


def grey_tile(size: int, reason: str) -> "Image":
    """Return a grey square with the reason why a video cannot be shown."""
    from PIL import Image, ImageDraw

    tile = Image.new("RGB", (size, size), GREY)
    font = text_font(size // 14)
    ImageDraw.Draw(tile).text((size / 2, size / 2), reason, fill=INK, font=font, anchor="mm")
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
