"""The gallery page: every cluster of a core in static files that open from disk, usable with 50,000 clusters.

`index.html` and `gallery.js` draw only the visible rows. `clusters.js` contains what is sorted, searched and filtered.
Captions (`members/NNN.js`) and pictures (`pictures/NNN/NNNNNN-M.jpg`) are loaded when their rows become visible.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.captions import read_captions
from sg.artefacts.forest import Forest, read_forest
from sg.artefacts.manifest import read_manifest
from sg.core.content import file_content
from sg.core.errors import DataError
from sg.core.files import read_json, write_record, write_text
from sg.core.identity import Identity, identity, made_by, recorded
from sg.report.figures.cluster_pictures import draw_pictures, plan_picture, video_records
from sg.report.numbers.clusters import ClusterList, Pick, StudyInputs, distinctive_words

GALLERY_PAGE = "index.html"
CLUSTERS_PER_FILE = 250
WORDS_BUDGET = 2_500_000
"""Characters of distinctive words over all clusters: with 50,000 clusters the page stays below 5 MB."""
MOST_WORDS = 400
CAPTION_LENGTH = 600
TEMPLATES = Path(__file__).parent
MADE_FROM = "made_from.json"
GALLERY_VERSION = 2
"""Raise it when the same clusters would get other pictures or member files."""


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """A written gallery: its page, the number of clusters on it, and the number of them with a picture."""

    page: Path
    clusters: int
    pictures: int


def write_gallery(
    folder: Path, inputs: StudyInputs, core_size: int, members: int = 4, pictures: int | None = 500
) -> GalleryPage:
    """Write the gallery of the core of `core_size` videos to `folder`.

    `pictures` clusters get a picture (largest, least similar and random ones; None: all). Pictures that an earlier call
    drew of the same clusters are kept, so an interrupted call resumes.

    Raises:
        MissingInputError, DataError: manifest, forest or captions are missing or damaged.
        ConfigError: the core is larger than the forest.
    """
    forest = read_forest(inputs.forest)
    clusters = ClusterList(forest, core_size)
    captions = read_captions(inputs.captions) if inputs.captions is not None and inputs.captions.is_file() else {}
    _keep_or_clear(folder, _identity(inputs, forest, core_size, members))
    picks = [clusters.pick(row, members) for row in clusters.rows]
    pictured = _pictured(clusters, pictures)
    _draw(folder, inputs, picks, pictured)
    drawn = [number for number in pictured if _is_drawn(folder, number, picks[number])]
    _write_members(folder, picks, captions)
    _write_index(folder, clusters, captions, drawn)
    for name in ("gallery.html", "gallery.js"):
        target = GALLERY_PAGE if name.endswith(".html") else name
        write_text(folder / target, (TEMPLATES / name).read_text(encoding="utf-8"))
    return GalleryPage(folder / GALLERY_PAGE, len(clusters.rows), len(drawn))


def picture_path(folder: Path, number: int, member: int = 0) -> Path:
    """Return the path of the picture of a member of the cluster with this number; the survivor is member 0."""
    return folder / "pictures" / f"{number // 500:03d}" / f"{number:06d}-{member}.jpg"


def _is_drawn(folder: Path, number: int, picks: Sequence[Pick]) -> bool:
    """True if the pictures of all members exist: they are written in order."""
    return picture_path(folder, number, len(picks) - 1).is_file()


def _identity(inputs: StudyInputs, forest: Forest, core_size: int, members: int) -> Identity:
    """What the pictures are made of. The manifest changes when a video file is repaired or replaced by a new scan."""
    manifest = file_content(inputs.manifest) if inputs.manifest.is_file() else None
    settings = {"core_size": core_size, "members": members}
    return identity(
        "gallery",
        settings=settings,
        inputs={"forest": forest.content_hash, "manifest": manifest},
        version=GALLERY_VERSION,
    )


def _keep_or_clear(folder: Path, work: Identity) -> None:
    """Remove pictures and members that are of other clusters, or that an older version drew."""
    note = folder / MADE_FROM
    try:
        known = recorded(read_json(note)) if note.is_file() else None
    except DataError:
        known = None
    if known != work:
        for name in ("pictures", "members"):
            shutil.rmtree(folder / name, ignore_errors=True)
        write_record(note, made_by(work))


def _pictured(clusters: ClusterList, pictures: int | None) -> list[int]:
    """The numbers of the clusters that get a picture."""
    if pictures is None or pictures >= len(clusters.rows):
        return list(range(len(clusters.rows)))
    number_of = {row.survivor: number for number, row in enumerate(clusters.rows)}
    chosen = clusters.choose(-(-pictures // 3))[:pictures] if pictures else []
    return sorted(number_of[row.survivor] for _, row in chosen)


def _draw(folder: Path, inputs: StudyInputs, picks: Sequence[Sequence[Pick]], pictured: Sequence[int]) -> None:
    wanted = [number for number in pictured if not _is_drawn(folder, number, picks[number])]
    if not wanted:
        return
    videos = [video for number in wanted for video, _ in picks[number]]
    records = video_records(read_manifest(inputs.manifest), videos)
    planned = (
        plan_picture(
            [picture_path(folder, number, member) for member in range(len(picks[number]))],
            [video for video, _ in picks[number]], records, inputs.videos,
        )
        for number in wanted
    )  # fmt: skip
    draw_pictures(planned, len(wanted))


def _write_members(folder: Path, picks: Sequence[Sequence[Pick]], captions: Mapping[str, str]) -> None:
    """Write `members/NNN.js`: the shown members of each cluster as [video, note, caption]."""
    for start in range(0, len(picks), CLUSTERS_PER_FILE):
        number = start // CLUSTERS_PER_FILE
        rows = [
            [[video, note, _shortened(captions.get(video, ""))] for video, note in cluster]
            for cluster in picks[start : start + CLUSTERS_PER_FILE]
        ]
        write_text(folder / "members" / f"{number:03d}.js", f"sgMembers({number}, {_literal(rows)});\n")


def _write_index(folder: Path, clusters: ClusterList, captions: Mapping[str, str], drawn: Sequence[int]) -> None:
    rows = clusters.rows
    length = min(MOST_WORDS, WORDS_BUDGET // max(1, len(rows)))
    index = {
        "core": clusters.core_size,
        "videos": clusters.num_videos,
        "clusters_a_file": CLUSTERS_PER_FILE,
        "ids": "\n".join(row.survivor for row in rows),
        "words": "\n".join(distinctive_words(rows, captions, length)),
        "sizes": [row.size for row in rows],
        "similarities": [None if row.similarity is None else round(1000 * row.similarity) for row in rows],
        "pictures": None if len(drawn) == len(rows) else list(drawn),
    }
    write_text(folder / "clusters.js", f"sgClusters({_literal(index)});\n")


def _literal(value: Any) -> str:
    """`value` as a JavaScript expression: JSON in an ASCII string, without `<`, so no caption can close the script."""
    text = json.dumps(value, separators=(",", ":"))
    return f"JSON.parse({json.dumps(text).replace('<', chr(92) + 'u003c')})"


def _shortened(text: str) -> str:
    return text if len(text) <= CAPTION_LENGTH else text[: CAPTION_LENGTH - 1] + "…"
