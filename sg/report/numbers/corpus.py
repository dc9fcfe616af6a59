"""Numbers about what a study trained on: captions by core and source, clusters by core; saved as `corpus.json`.

Figures and notebooks use nothing else, so they can be drawn again from a committed `corpus.json`.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from sg.artefacts.captions import Captions, read_captions
from sg.artefacts.forest import Forest, read_forest
from sg.artefacts.manifest import read_manifest
from sg.core.errors import MissingInputError, SgError
from sg.core.files import read_json, write_record
from sg.core.fingerprints import text_seed
from sg.report.numbers.clusters import StudyInputs
from sg.report.numbers.records import load_record

log = logging.getLogger(__name__)

CORPUS_FILE = "corpus.json"
STATISTICS_FILE = "statistics.json"
CORE, SOURCE = "core", "source"
MOST_CAPTIONS = 100_000
"""Of a larger corpus only every second, third, ... caption is read, for the core and for the random draw."""
QUANTILES = (5, 25, 50, 75, 95)
MERGE_BIN = 0.01
"""Width of the bins of the histogram of similarities."""


@dataclass(frozen=True, slots=True)
class CaptionGroup:
    """The captions of a core or of a source.

    `words` are percentiles (`QUANTILES`) of the number of words per caption. `vocabulary` is the number of distinct
    words in the captions read, `vocabulary_of_draw` that of a random draw of as many captions (cores only).
    """

    kind: str
    name: str
    captions: int
    captions_read: int
    words: list[float]
    vocabulary: int
    vocabulary_of_draw: int | None = None


@dataclass(frozen=True, slots=True)
class CoreClusters:
    """The clusters of a core.

    `histogram` is [smallest size, number of clusters] for sizes 1, 2-3, 4-7, ...; `cut` is the cosine of the last merge
    before the core was reached.
    """

    size: int
    name: str
    histogram: list[list[int]]
    cut: float | None


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A video on the map of the embedding space.

    `core` is the size of the study's smallest core that contains it, or 0 if it is in the whole corpus only.
    """

    x: float
    y: float
    core: int


@dataclass(frozen=True, slots=True)
class CorpusNumbers:
    """Numbers about captions and clusters; a list is empty if the files for it are missing.

    `merges` counts all merges by their cosine: [lower end of a bin of width `MERGE_BIN`, number of merges]. `map_note`
    describes how the map was made.
    """

    curator: str = ""
    videos: int = 0
    captions: list[CaptionGroup] = field(default_factory=list)
    cores: list[CoreClusters] = field(default_factory=list)
    merges: list[list[float]] = field(default_factory=list)
    points: list[MapPoint] = field(default_factory=list)
    map_note: str = ""


def read_corpus(path: Path) -> CorpusNumbers:
    """Read a `corpus.json` from its path or its folder; MissingInputError if there is none."""
    file = path if path.suffix == ".json" else path / CORPUS_FILE
    if not file.is_file():
        raise MissingInputError(
            f"There is no {CORPUS_FILE} at {file}: write it with `python -m sg.report study=FOLDER`."
        )
    return cast(CorpusNumbers, load_record(CorpusNumbers, file))


def write_corpus(path: Path, corpus: CorpusNumbers) -> None:
    """Write `corpus` as JSON."""
    write_record(path, asdict(corpus))


def describe_corpus(inputs: StudyInputs, cores: Mapping[int, str]) -> CorpusNumbers:
    """Describe the files that a study read; `cores` maps its core sizes to their names. Missing files are left out.

    Raises:
        MissingInputError, DataError: the forest is missing, or a file is damaged.
    """
    forest = read_forest(inputs.forest)
    captions = read_captions(inputs.captions) if inputs.captions is not None and inputs.captions.is_file() else None
    statistics = _statistics(inputs.forest.parent / STATISTICS_FILE)
    points = statistics.get("map") or {}
    return CorpusNumbers(
        curator=inputs.forest.parent.name,
        videos=len(forest),
        captions=[] if captions is None else _caption_groups(forest, captions, inputs.manifest, cores),
        cores=_core_clusters(forest, statistics, cores),
        merges=_merges(forest),
        points=_map_points(points.get("points", []), sorted(size for size in cores if 0 < size < len(forest))),
        map_note=str(points.get("note", "")),
    )


def _statistics(path: Path) -> dict[str, Any]:
    """The statistics that curation wrote about the cores; empty if there are none."""
    if not path.is_file():
        return {}
    try:
        return dict(read_json(path))
    except (SgError, TypeError, ValueError) as error:
        log.warning("The report has no curation statistics: %s", error)
        return {}


def _core_clusters(forest: Forest, statistics: Mapping[str, Any], names: Mapping[int, str]) -> list[CoreClusters]:
    """The cores that the study trained on, the smallest first; the whole corpus is not a core."""
    described = {int(core["size"]): core["clusters"]["histogram"] for core in statistics.get("cores", [])}
    sizes = sorted(size for size in names if 0 < size < len(forest))
    return [
        CoreClusters(
            size, names[size], [list(map(int, bar)) for bar in described.get(size) or _histogram(forest, size)],
            forest.cut_similarity(size),
        )
        for size in sizes
    ]  # fmt: skip


def _histogram(forest: Forest, size: int) -> list[list[int]]:
    """[smallest size, number of clusters] for sizes 1, 2-3, 4-7, ... of a core that curation did not describe."""
    owner = forest.assignment(size)
    counts = np.bincount(owner[owner >= 0], minlength=len(forest))[len(forest) - size :]
    bins = np.bincount(np.log2(np.maximum(counts, 1)).astype(int))
    return [[2**power, int(number)] for power, number in enumerate(bins.tolist())]


def _merges(forest: Forest) -> list[list[float]]:
    """[lower end of a bin, number of merges] over the similarities of all merges."""
    known = forest.similarity[~np.isnan(forest.similarity)].astype(np.float64)
    # Rounding keeps a similarity that lies on the edge of a bin, such as 0.29, in the bin above it.
    bins = np.minimum(np.floor(np.round(known / MERGE_BIN, 6)), round(1 / MERGE_BIN) - 1).astype(int)
    return [
        [round(int(low) * MERGE_BIN, 6), int(count)]
        for low, count in zip(*np.unique(bins, return_counts=True), strict=True)
    ]


def _map_points(points: Sequence[Sequence[float]], sizes: Sequence[int]) -> list[MapPoint]:
    """The points of the map. Curation states the size of the smallest core of all that contains a video; 0: unknown."""
    found = []
    for x, y, smallest in points:
        size = next((size for size in sizes if 0 < smallest <= size), 0)
        found.append(MapPoint(float(x), float(y), size))
    return found


def _caption_groups(forest: Forest, captions: Captions, manifest: Path, cores: Mapping[int, str]) -> list[CaptionGroup]:
    """One group per core of the study, then one per source if the corpus has more than one."""
    # Every core is the beginning of every larger one, so one pass over the largest serves all: a core is its first
    # texts.
    step = -(-len(forest) // MOST_CAPTIONS)
    kept = [video for video in forest.core(len(forest)) if video in captions]
    order = np.random.default_rng(text_seed("corpus", len(kept))).permutation(len(kept))
    curated = _WordCounts([captions[video] for video in kept[::step]])
    drawn = _WordCounts([captions[kept[place]] for place in order[::step].tolist()])
    groups = []
    for size, name in sorted(cores.items()):
        read = -(-min(size, len(kept)) // step)
        words = curated.lengths[:read]
        groups.append(
            CaptionGroup(CORE, name, min(size, len(kept)), read, _quantiles(words), curated.words_in(read),
                         drawn.words_in(read))
        )  # fmt: skip
    return groups + _source_groups(kept[::step], captions, manifest)


def _source_groups(videos: Sequence[str], captions: Captions, manifest: Path) -> list[CaptionGroup]:
    if not manifest.is_file():
        return []
    table = read_manifest(manifest).table
    source_of = dict(zip(table["video_id"].to_pylist(), table["source"].to_pylist(), strict=True))
    texts: dict[str, list[str]] = {}
    for video in videos:
        texts.setdefault(source_of.get(video, "unknown"), []).append(captions[video])
    if len(texts) < 2:
        return []
    # More captions contain more distinct words, so sources are compared on as many captions as the smallest one has.
    fewest = min(len(items) for items in texts.values())
    groups = []
    for name, items in sorted(texts.items()):
        reading = _WordCounts(items)
        groups.append(
            CaptionGroup(SOURCE, name, len(items), fewest, _quantiles(reading.lengths), reading.words_in(fewest))
        )
    return groups


class _WordCounts:
    """Counts over texts in order: the number of words of each, and of distinct words in the first n."""

    def __init__(self, texts: Sequence[str]) -> None:
        seen: set[str] = set()
        self.lengths, self._distinct = [], [0]
        for text in texts:
            words = re.findall(r"\w+", text.lower())
            seen.update(words)
            self.lengths.append(len(words))
            self._distinct.append(len(seen))

    def words_in(self, count: int) -> int:
        """Number of distinct words in the first `count` texts."""
        return self._distinct[min(count, len(self._distinct) - 1)]


def _quantiles(values: Sequence[int]) -> list[float]:
    return [float(value) for value in np.percentile(values, QUANTILES)] if values else []
