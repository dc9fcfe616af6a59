"""The clusters of a core as the galleries show them: size, similarity, the members to show, distinctive words."""

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sg.artefacts.captions import read_captions
from sg.artefacts.forest import Forest, read_forest
from sg.artefacts.manifest import hash_manifest
from sg.core.errors import SgError
from sg.core.fingerprints import text_seed
from sg.report.config import GalleryConfig
from sg.report.numbers.study import Study

log = logging.getLogger(__name__)

Pick = tuple[str, str]
"""A member of a cluster to show (video id), and a note about it."""

INPUT_NAMES = ("manifest", "forest", "videos")
"""Keys of the inputs that a run records and that a gallery needs."""

CAPTIONS_READ = 8
"""Number of captions per cluster that its distinctive words are taken from."""


@dataclass(frozen=True, slots=True)
class StudyInputs:
    """The files that a study read; without captions, members are shown without text."""

    manifest: Path
    forest: Path
    videos: Path
    captions: Path | None = None


def named_inputs(config: GalleryConfig) -> StudyInputs | None:
    """The files that settings name; None if they name no manifest."""
    if not (config.manifest and config.forest and config.videos):
        return None
    captions = Path(config.captions) if config.captions else None
    return StudyInputs(Path(config.manifest), Path(config.forest), Path(config.videos), captions)


def recorded_inputs(study: Study) -> StudyInputs | None:
    """The files that the runs recorded as their inputs, if they still exist with the same content; None otherwise."""
    for run in study.runs:
        found = {name: Path(run.inputs[name]) for name in INPUT_NAMES if name in run.inputs}
        if len(found) == len(INPUT_NAMES) and all(path.exists() for path in found.values()):
            captions = Path(run.inputs["captions"]) if "captions" in run.inputs else None
            inputs = StudyInputs(found["manifest"], found["forest"], found["videos"], captions)
            if changed := _changed_input(inputs, run.inputs_content):
                log.warning(
                    "The report has no captions and clusters, because %s has changed since run %s: repeat the study's "
                    "command to have both from the present data.", changed, run.run,
                )  # fmt: skip
                return None
            return inputs
    return None


def _changed_input(inputs: StudyInputs, content: Mapping[str, str]) -> Path | None:
    """The first file that is damaged or whose content is not the recorded one; those without a record are not read."""
    for name, known in content.items():
        path: Path | None = getattr(inputs, name)
        if path is None or not path.is_file():
            continue
        try:
            if _content(name, path) != known:
                return path
        except SgError:
            return path
    return None


def _content(name: str, path: Path) -> str:
    """The content hash of an input, as runs record it."""
    if name == "manifest":
        return hash_manifest(path)
    return read_captions(path).content_hash if name == "captions" else read_forest(path).content_hash


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A survivor of the core with the videos merged into it.

    `similarity` is the lowest cosine of a member with the video that it was merged into; None if it was not recorded.
    """

    survivor: str
    size: int
    similarity: float | None
    members: list[str]


class ClusterList:
    """All clusters of the core of `core_size` videos, the largest first.

    Raises:
        ConfigError: the core is larger than the forest.
    """

    def __init__(self, forest: Forest, core_size: int) -> None:
        self.core_size, self.num_videos = core_size, len(forest)
        self._row_of = {video_id: row for row, video_id in enumerate(forest.video_ids)}
        self._similarity = np.where(np.isnan(forest.rep_similarity), forest.similarity, forest.rep_similarity)
        found = [self._row(name, members) for name, members in forest.clusters(core_size).items()]
        self.rows = sorted(found, key=lambda row: (-row.size, row.survivor))

    def _row(self, survivor: str, members: list[str]) -> ClusterRow:
        known = self._similarity[[self._row_of[video] for video in members[1:]]]
        known = known[~np.isnan(known)]
        return ClusterRow(survivor, len(members), float(known.min()) if len(known) else None, members)

    def pick(self, row: ClusterRow, count: int) -> list[Pick]:
        """Return `count` members: the survivor, then the most and least similar to what they were merged into."""
        similarity_of = {video: float(self._similarity[self._row_of[video]]) for video in row.members[1:]}
        others = sorted(similarity_of, key=lambda video: (-np.nan_to_num(similarity_of[video]), video))
        near = others[: (count - 1) // 2]
        far = others[len(near) :][-(count - 1 - len(near)) :] if count - 1 > len(near) else []
        shown = [(video, _similarity_text(similarity_of[video])) for video in (*near, *far)]
        return [(row.survivor, "stays in the core"), *shown]

    def choose(self, per_kind: int) -> list[tuple[str, ClusterRow]]:
        """Return (kind, cluster) of the largest, least similar and random clusters: `per_kind` of each, each one once.

        Clusters of one video are chosen only if there are no larger ones.
        """
        several = [row for row in self.rows if row.size > 1] or self.rows
        chosen = [("Largest", row) for row in several[:per_kind]]
        unlike = sorted(
            (row for row in several[per_kind:] if row.similarity is not None),
            key=lambda row: (row.similarity, row.survivor),
        )
        chosen += [("Least similar", row) for row in unlike[:per_kind]]
        taken = {row.survivor for _, row in chosen}
        rest = [row for row in several if row.survivor not in taken]
        order = np.random.default_rng(text_seed("gallery", len(self.rows))).permutation(len(rest))
        return chosen + [("Random", rest[int(place)]) for place in order[:per_kind]]


def distinctive_words(clusters: Sequence[ClusterRow], captions: Mapping[str, str], length: int) -> list[str]:
    """Return for each cluster the words with the highest TF-IDF in its captions, joined to at most `length` characters.

    Only the first `CAPTIONS_READ` captions of a cluster are read.
    """
    counts = [Counter(_cluster_words(row, captions)) for row in clusters]
    spread = Counter(word for words in counts for word in words)
    rarity = {word: math.log(1 + len(clusters) / number) for word, number in spread.items()}
    return [_cut(sorted(words, key=lambda word: (-words[word] * rarity[word], word)), length) for words in counts]


def _cluster_words(row: ClusterRow, captions: Mapping[str, str]) -> list[str]:
    texts = [captions.get(video, "") for video in row.members[:CAPTIONS_READ]]
    return [word for text in texts for word in set(re.findall(r"\w{2,}", text.lower()))]


def _cut(words: Sequence[str], length: int) -> str:
    """The first of `words` that fit into `length` characters."""
    kept, used = [], 0
    for word in words:
        used += len(word) + 1
        if used > length + 1:
            break
        kept.append(word)
    return " ".join(kept)


def _similarity_text(value: float) -> str:
    return "" if np.isnan(value) else f"similarity {value:.2f}"
