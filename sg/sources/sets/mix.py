"""Several scanned sources in one manifest, drawn by weight.

A video's place in its source's queue comes from a hash of seed and id, so it does not depend on the other videos. The
sources take turns: the k-th video of a source with weight w comes at time k / w. The mix of size n is the first n
videos by time: it holds every smaller mix, and each source's share is its weight's to within one video, as long as the
source has videos left; after that the others share what remains.

Ids of published sets say which video they are, in every source. Those of the demo world and of a folder of clips are
unique there only, so that in a mix they begin with the name of their source.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sg.artefacts.manifest import Manifest, VideoRecord, read_manifest, write_manifest
from sg.artefacts.names import MAX_ID_BYTES, safe_video_id
from sg.artefacts.tables import read_info
from sg.core.errors import ConfigError, MissingInputError
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint, text_seed
from sg.core.progress import track
from sg.core.scales import parse_scale
from sg.sources.config import MixDataConfig, MixPart

log = logging.getLogger(__name__)

MIX_VERSION = 2
_LOCAL_IDS = ("demo", "folder")
"""What gives ids that are unique in one folder only."""


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    manifest: Manifest
    """Usable rows."""
    prefix: str
    """Path of its films below those of the mix."""
    weight: float


def draw_mix(config: MixDataConfig) -> Path:
    """Make the manifest of a mix, or leave it when nothing changed; gives its path.

    Only usable videos are drawn, and a video that several sources have once, from the first one named.

    Raises:
        MissingInputError: a source was not scanned yet.
        ConfigError: there is no source, one lies outside the mix's folder, or fewer videos than asked for.
    """
    path, size = config.manifest_path, _num_videos(config)
    sources = [_source(config, name, part) for name, part in config.drawn.items()]
    if not sources:
        raise ConfigError("data.sources names no source with a weight above 0: give it as data.sources.NAME.dir=DIR.")
    made_by = fingerprint(
        [MIX_VERSION, size, config.seed, [[s.name, s.weight, s.prefix, s.manifest.content_hash] for s in sources]]
    )
    with file_lock(path.with_suffix(".lock")):
        if read_info(path).get("fingerprint") != made_by:
            rows = list(_drawn(sources, config.seed, size))
            if size is not None and len(rows) < size:
                raise ConfigError(
                    f"data.size={config.size} is more than the {len(rows):,} usable videos of the sources."
                )
            info = {
                "source": "mix",
                "videos": str(Path(config.videos).resolve()),
                "fingerprint": made_by,
                "settings": _settings(config),
                "drawn": dict(Counter(name for name, _ in rows)),
                "youtube_films_of_several_sources": _shared_films(rows),
            }
            write_manifest(path, (row for _, row in rows), info)
    told = read_info(path)
    drawn = ", ".join(f"{told['drawn'].get(source.name, 0):,} of {source.name}" for source in sources)
    log.info("mix: %s; %d YouTube films are in several", drawn, told["youtube_films_of_several_sources"])
    return path


def is_drawn(config: MixDataConfig) -> bool:
    """Whether the manifest of the mix is there and was drawn with these settings, whatever its sources hold by now."""
    return bool(read_info(config.manifest_path).get("settings") == _settings(config))


def draw_order(ids: Mapping[str, list[str]], weights: Mapping[str, float], seed: int) -> list[tuple[str, int]]:
    """(source, row) of every video in the order in which a mix takes them."""
    turns = []
    for number, (name, names) in enumerate(ids.items()):
        queue = sorted(range(len(names)), key=lambda row: (text_seed("mix", seed, names[row]), names[row]))
        turns += [((place + 1) / weights[name], number, place, name, row) for place, row in enumerate(queue)]
    return [(name, row) for _, _, _, name, row in sorted(turns)]


def _num_videos(config: MixDataConfig) -> int | None:
    """Videos to draw; None for all. A mix of demo worlds has fewer for a thousand, as in its scales."""
    size = parse_scale(config.size)
    return None if size is None else size * config.captions_per_k // 1000


def _settings(config: MixDataConfig) -> str:
    weights = [[name, part.dir, part.weight] for name, part in config.drawn.items()]
    return fingerprint([MIX_VERSION, _num_videos(config), config.seed, weights])


def _source(config: MixDataConfig, name: str, part: MixPart) -> _Source:
    path = Path(part.dir) / "manifest.parquet"
    if part.world is not None:
        from sg.demo.build import build_demo_world

        build_demo_world(part.world, Path(part.dir))
    if not path.is_file():
        raise MissingInputError(
            f"There is no manifest {path}: scan data.sources.{name} first with `python -m sg.sources data={name}`, or "
            f"leave it out with data.sources.{name}.weight=0."
        )
    manifest = read_manifest(path)
    usable = manifest.usable()
    films = Path(part.videos or manifest.info.get("videos") or path.parent / "videos").resolve()
    root = Path(config.videos).resolve()
    if not films.is_relative_to(root):
        raise ConfigError(
            f"The films of data.sources.{name} are in {films}, outside data.videos={config.videos}: name a folder "
            "above the films of all sources."
        )
    if not films.is_dir():
        raise ConfigError(
            f"There is no folder {films} of the films of data.sources.{name}: give it with "
            f"data.sources.{name}.videos=DIR."
        )
    prefix = films.relative_to(root).as_posix()
    weight = float(len(usable)) if part.weight is None else part.weight
    return _Source(name, usable, "" if prefix == "." else f"{prefix}/", weight)


def _drawn(sources: list[_Source], seed: int, size: int | None) -> Iterator[tuple[str, VideoRecord]]:
    """The videos of a mix in their order, each with the name of its source."""
    taken: set[str] = set()
    records: dict[str, list[VideoRecord]] = {}
    for source in sources:
        rows = (_named(source.name, row) for row in source.manifest.records())
        records[source.name] = [row for row in rows if row.video_id not in taken]
        taken.update(row.video_id for row in records[source.name])
    ids = {name: [row.video_id for row in rows] for name, rows in records.items() if rows}
    order = draw_order(ids, {source.name: source.weight for source in sources}, seed)[:size]
    prefixes = {source.name: source.prefix for source in sources}
    for name, place in track(order, "mix", "videos", total=len(order)):
        row = records[name][place]
        yield name, replace(row, path=prefixes[name] + row.path, extra=_with_origin(row.extra, name))


def _named(source: str, row: VideoRecord) -> VideoRecord:
    """The row under an id that no video of another source has."""
    if row.source not in _LOCAL_IDS:
        return row
    video_id = f"{source}-{row.video_id}"
    return replace(row, video_id=video_id if len(video_id) <= MAX_ID_BYTES else safe_video_id(video_id))


def _shared_films(rows: list[tuple[str, VideoRecord]]) -> int:
    """YouTube films of which several sources have a part: not the same videos, but not independent either."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, row in rows:
        if film := json.loads(row.extra).get("youtube_id"):
            owners[film].add(name)
    return sum(len(names) > 1 for names in owners.values())


def _with_origin(extra: str, name: str) -> str:
    return json.dumps({**json.loads(extra), "mixed_from": name}, sort_keys=True)
