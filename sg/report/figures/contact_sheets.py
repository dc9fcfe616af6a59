"""Contact sheets: a few clusters of a core, each with frames of several members, as pictures."""

import base64
import io
import logging
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.captions import read_captions
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import VideoRecord, read_manifest, video_path
from sg.artefacts.names import shown_id
from sg.core.files import atomic_path
from sg.core.scales import scale_label
from sg.report.figures.cluster_pictures import GRID, INK, frame_grid, grey_tile, video_records
from sg.report.figures.fonts import text_font, writable
from sg.report.numbers.clusters import ClusterList, StudyInputs

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

FRAME_WIDTH = 160
GAP = 16
CAPTION_LENGTH = 600
CAPTION_LINES = 8
TEXT = 14
"""Height of the text on a contact sheet, in pixels."""


@dataclass(frozen=True, slots=True)
class SheetMember:
    """One video of a cluster; `jpeg` is its grid of frames, or None with the `reason` why it cannot be shown."""

    video_id: str
    caption: str
    note: str
    jpeg: bytes | None
    reason: str = ""

    @property
    def picture(self) -> str:
        """The grid of frames as a data URL; empty if there is none."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}" if self.jpeg else ""


@dataclass(frozen=True, slots=True)
class SheetCluster:
    """A survivor of the core with some of the videos that were merged into it.

    `similarity` is the lowest cosine of a member with the video it was merged into; None if unknown.
    """

    kind: str
    survivor: str
    size: int
    similarity: float | None
    members: list[SheetMember]

    @property
    def title(self) -> str:
        """Title such as `Largest: 41 videos, lowest cosine similarity 0.62`."""
        inner = "" if self.similarity is None else f", lowest cosine similarity {self.similarity:.2f}"
        return f"{self.kind}: {self.size:,} video{'' if self.size == 1 else 's'}{inner}"


@dataclass(frozen=True, slots=True)
class ContactSheets:
    """Chosen clusters of the core of `core_size` videos."""

    core_size: int
    num_videos: int
    clusters: list[SheetCluster]

    @property
    def note(self) -> str:
        """A sentence that describes what is shown."""
        return (
            f"{len(self.clusters)} of the {self.core_size:,} clusters in a core of {self.core_size:,} out of "
            f"{self.num_videos:,} videos. Each picture shows {GRID * GRID} frames of one video; the first video of a "
            "cluster stays in the core. A click enlarges a picture."
        )


def build_contact_sheets(inputs: StudyInputs, core_size: int, per_kind: int = 2, num_members: int = 4) -> ContactSheets:
    """Collect the largest, the least similar and random clusters of a core, `per_kind` of each.

    Raises:
        MissingInputError, DataError: manifest, forest or captions are missing or damaged.
        ConfigError: the core is larger than the forest.
    """
    clusters = ClusterList(read_forest(inputs.forest), core_size)
    chosen = [(kind, row, clusters.pick(row, num_members)) for kind, row in clusters.choose(per_kind)]
    wanted = [video for *_, picks in chosen for video, _ in picks]
    records = video_records(read_manifest(inputs.manifest), wanted)
    captions = read_captions(inputs.captions) if inputs.captions is not None and inputs.captions.is_file() else {}
    shown = [
        SheetCluster(kind, row.survivor, row.size, row.similarity, [
            _member(video, note, records.get(video), captions.get(video, ""), inputs.videos) for video, note in picks
        ])
        for kind, row, picks in chosen
    ]  # fmt: skip
    return ContactSheets(core_size, clusters.num_videos, shown)


def write_sheets(gallery: ContactSheets, folder: Path) -> list[Path]:
    """Write each cluster as one PNG to `folder`: its members side by side, with their ids and captions."""
    paths = []
    for number, cluster in enumerate(gallery.clusters, start=1):
        path = folder / f"core-{scale_label(gallery.core_size)}-{number:02d}.png"
        with atomic_path(path) as temporary:
            _sheet(cluster).save(temporary, format="PNG")
        paths.append(path)
    return paths


def _member(video_id: str, note: str, record: VideoRecord | None, caption: str, videos: Path) -> SheetMember:
    text = caption if len(caption) <= CAPTION_LENGTH else caption[: CAPTION_LENGTH - 1] + "…"
    if record is None:
        return SheetMember(video_id, text, note, None, "not in the manifest")
    if record.status != "ok":
        return SheetMember(video_id, text, note, None, record.status)
    from sg.video.frames import UnreadableVideoError
    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    try:
        frames = read_frames(video_path(videos, record), MiddleOfSegments(GRID * GRID)).frames
    except UnreadableVideoError as error:
        log.warning("gallery: %s", error)
        return SheetMember(video_id, text, note, None, f"{error.status} video")
    return SheetMember(video_id, text, note, _grid_jpeg(frames))


def _grid_jpeg(frames: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    frame_grid(frames, FRAME_WIDTH).save(stream, format="JPEG", quality=82)
    return stream.getvalue()


def _sheet(cluster: SheetCluster) -> "Image":
    """The title of a cluster above its members; below each picture the id, the note and the caption of the member."""
    from PIL import Image, ImageDraw

    side = GRID * FRAME_WIDTH
    pictures = [
        _fitted(Image.open(io.BytesIO(member.jpeg)), side) if member.jpeg else grey_tile(side, member.reason)
        for member in cluster.members
    ]
    texts = [_member_text(member, side) for member in cluster.members]
    line, top = round(1.4 * TEXT), 3 * TEXT
    tallest, lines = max(picture.height for picture in pictures), max(len(text) for text in texts)
    size = (side + GAP) * len(pictures) + GAP, top + tallest + (lines + 1) * line
    sheet = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, TEXT), cluster.title, fill=INK, font=text_font(TEXT + 3, bold=True))
    for number, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        left = GAP + number * (side + GAP)
        sheet.paste(picture, (left, top))
        for place, words in enumerate(text):
            below = top + tallest + line // 2 + place * line
            pen.text((left, below), words, fill=INK, font=text_font(TEXT, bold=place == 0, text=words))
    return sheet


def _fitted(picture: "Image", side: int) -> "Image":
    """The picture with a longer side of `side` pixels: small videos are enlarged, so that no column is half empty."""
    factor = side / max(picture.size)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def _member_text(member: SheetMember, width: int) -> list[str]:
    """The lines below a picture: id, note, and the beginning of the caption, none wider than `width` pixels."""

    def columns(text: str) -> int:
        """Letters that fit; those of `text` may be wider than Latin ones."""
        font = text_font(TEXT, text=text)
        return int(width / max(font.getlength("x"), font.getlength(text) / max(1, len(text))))

    caption, name = writable(member.caption), writable(shown_id(member.video_id))
    lines = textwrap.wrap(caption, columns(caption), max_lines=CAPTION_LINES, placeholder=" …")
    shown = textwrap.shorten(name, columns(name), placeholder="…") or name[: columns(name)]
    return [shown, *([member.note] if member.note else []), *lines]
