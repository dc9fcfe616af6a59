"""The gallery of a core: what its clusters hold, as contact sheets like the study's (frames of several members)."""

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.captions import read_captions
from sg.artefacts.forest import Forest, read_forest
from sg.artefacts.manifest import Manifest, VideoRecord, read_manifest, video_path
from sg.core.files import atomic_path
from sg.core.fingerprints import text_seed
from sg.core.scales import scale_label

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

GRID = 3
"""Frames of a member are shown as GRID x GRID, in reading order, as in the study's pictures."""
FRAME_WIDTH = 96
GAP = 12
GREY = (190, 193, 198)
CAPTION_LENGTH = 600


@dataclass(frozen=True, slots=True)
class GalleryInputs:
    """The files a gallery is made from; captions may be missing, then members are shown without text."""

    manifest: Path
    forest: Path
    videos: Path
    captions: Path | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One video of a cluster; `jpeg` is its grid of frames, None when it cannot be shown (`reason` says why)."""

    video_id: str
    caption: str
    note: str
    jpeg: bytes | None
    reason: str = ""

    @property
    def picture(self) -> str:
        """The grid as a data URL; empty when there is none."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}" if self.jpeg else ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A survivor of the core with some of the videos it stands for; `similarity` is the lowest inside, if known."""

    kind: str
    survivor: str
    size: int
    similarity: float | None
    members: list[Member]

    @property
    def title(self) -> str:
        """`Largest: 41 videos, lowest similarity 0.62`."""
        inner = "" if self.similarity is None else f", lowest similarity {self.similarity:.2f}"
        return f"{self.kind}: {self.size:,} video{'' if self.size == 1 else 's'}{inner}"


@dataclass(frozen=True, slots=True)
class Gallery:
    """Chosen clusters of the core of `core_size` videos."""

    core_size: int
    num_videos: int
    clusters: list[Cluster]

    @property
    def note(self) -> str:
        """What the gallery shows, in a sentence."""
        return (
            f"{len(self.clusters)} of the {self.core_size:,} clusters when {self.num_videos:,} videos are merged to a "
            f"core of {self.core_size:,}. Each picture shows {GRID * GRID} frames of one video; the first stays "
            "in the core."
        )


def build_gallery(inputs: GalleryInputs, core_size: int, per_kind: int = 2, num_members: int = 4) -> Gallery:
    """The largest, some random and the least similar clusters of a core, `per_kind` of each.

    Raises:
        MissingInputError, DataError: manifest, forest or captions are missing or damaged.
        ConfigError: the core is larger than the forest.
    """
    forest = read_forest(inputs.forest)
    clusters = forest.clusters(core_size)
    rows = {video_id: row for row, video_id in enumerate(forest.video_ids)}
    similarity = _similarities(forest)
    lowest = {name: _lowest(members, rows, similarity) for name, members in clusters.items()}
    chosen = _choose(clusters, lowest, per_kind)
    records = _records(read_manifest(inputs.manifest), [video for _, name in chosen for video in clusters[name]])
    captions = read_captions(inputs.captions) if inputs.captions is not None and inputs.captions.is_file() else {}
    shown = [
        Cluster(kind, name, len(clusters[name]), lowest[name], [
            _member(video, note, records.get(video), captions.get(video, ""), inputs.videos)
            for video, note in _pick(clusters[name], rows, similarity, num_members)
        ])
        for kind, name in chosen
    ]  # fmt: skip
    return Gallery(core_size, len(forest), shown)


def write_sheets(gallery: Gallery, folder: Path) -> list[Path]:
    """Write each cluster as one JPEG to `folder`, members side by side; a video that cannot be shown is a grey tile."""
    paths = []
    for number, cluster in enumerate(gallery.clusters, start=1):
        path = folder / f"core-{scale_label(gallery.core_size)}-{number:02d}.jpg"
        with atomic_path(path) as temporary:
            _sheet(cluster).save(temporary, format="JPEG", quality=85)
        paths.append(path)
    return paths


def _similarities(forest: Forest) -> NDArray[np.float32]:
    """[N] likeness of each row to the video it was merged into; the merge's own where that is not recorded."""
    return np.where(np.isnan(forest.rep_similarity), forest.similarity, forest.rep_similarity)


def _lowest(members: Sequence[str], rows: Mapping[str, int], similarity: NDArray[np.float32]) -> float | None:
    values = [float(similarity[rows[video]]) for video in members[1:]]
    known = [value for value in values if not np.isnan(value)]
    return min(known) if known else None


def _choose(
    clusters: Mapping[str, Sequence[str]], lowest: Mapping[str, float | None], per_kind: int
) -> list[tuple[str, str]]:
    """(kind, survivor) of the clusters to show, none twice; clusters of one video only when there are no others."""
    names = sorted(clusters, key=lambda name: (-len(clusters[name]), name))
    several = [name for name in names if len(clusters[name]) > 1] or names
    chosen = [("Largest", name) for name in several[:per_kind]]
    unlike = [name for name in several[per_kind:] if lowest[name] is not None]
    chosen += [("Least alike", name) for name in sorted(unlike, key=lambda name: (lowest[name], name))[:per_kind]]
    taken = {name for _, name in chosen}
    rest = [name for name in several if name not in taken]
    order = np.random.default_rng(text_seed("gallery", len(clusters))).permutation(len(rest))
    return chosen + [("Random", rest[int(place)]) for place in order[:per_kind]]


def _pick(
    members: Sequence[str],
    rows: Mapping[str, int],
    similarity: NDArray[np.float32],
    count: int,
) -> list[tuple[str, str]]:
    """(video, note): the survivor, then the members most and least like the one that they were merged into."""
    others = sorted(members[1:], key=lambda video: (-np.nan_to_num(similarity[rows[video]]), video))
    near = others[: (count - 1) // 2]
    far = others[len(near) :][-(count - 1 - len(near)) :] if count - 1 > len(near) else []
    shown = [(video, _likeness(float(similarity[rows[video]]))) for video in (*near, *far)]
    return [(members[0], "stays in the core"), *shown]


def _likeness(value: float) -> str:
    return "" if np.isnan(value) else f"similarity {value:.2f}"


def _records(manifest: Manifest, videos: Sequence[str]) -> dict[str, VideoRecord]:
    """Manifest rows of the wanted videos; the manifest may have lost some since the forest was made."""
    known = set(manifest.video_ids)
    wanted = manifest.select(dict.fromkeys(video for video in videos if video in known))
    return {record.video_id: record for record in wanted.records()}


def _member(video_id: str, note: str, record: VideoRecord | None, caption: str, videos: Path) -> Member:
    text = caption if len(caption) <= CAPTION_LENGTH else caption[: CAPTION_LENGTH - 1] + "…"
    if record is None:
        return Member(video_id, text, note, None, "not in the manifest")
    if record.status != "ok":
        return Member(video_id, text, note, None, record.status)
    from sg.video.frames import UnreadableVideoError
    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    try:
        frames = read_frames(video_path(videos, record), MiddleOfSegments(GRID * GRID)).frames
    except UnreadableVideoError as error:
        log.warning("gallery: %s", error)
        return Member(video_id, text, note, None, f"{error.status} video")
    return Member(video_id, text, note, _grid_jpeg(frames))


def _grid_jpeg(frames: NDArray[np.uint8]) -> bytes:
    """Frames [GRID*GRID, H, W, 3] as one JPEG in reading order, each at most `FRAME_WIDTH` wide."""
    from PIL import Image

    height, width = frames.shape[1:3]
    factor = min(1.0, FRAME_WIDTH / width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    sheet = Image.new("RGB", (GRID * size[0], GRID * size[1]))
    for number, frame in enumerate(frames):
        tile = Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
        sheet.paste(tile, (number % GRID * size[0], number // GRID * size[1]))
    stream = io.BytesIO()
    sheet.save(stream, format="JPEG", quality=82)
    return stream.getvalue()


def _sheet(cluster: Cluster) -> "Image":
    from PIL import Image

    pictures = [
        Image.open(io.BytesIO(member.jpeg)) if member.jpeg else Image.new("RGB", (GRID * FRAME_WIDTH,) * 2, GREY)
        for member in cluster.members
    ]
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), (255, 255, 255))
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + GAP
    return sheet
