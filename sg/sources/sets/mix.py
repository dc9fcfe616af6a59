"""Several scanned sources in one manifest, drawn by weight.

The order of the videos of a source comes from a hash of seed and id, so that it does not depend on the other videos.
The sources take turns: video k of a source with weight w is drawn at time k / w. The mix of size n is the first n
videos by time. It contains every smaller mix, and the share of each source equals its weight to within one video, until
a source has no more videos; the other sources then share the rest.

Ids of published datasets name the same video in every source. Ids of the demo world and of a folder of videos are
unique in that folder only, so that in a mix they begin with the name of their source.
"""

import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import Manifest, VideoRecord, read_manifest, recorded_videos, write_manifest
from sg.artefacts.names import MAX_ID_BYTES, safe_video_id
from sg.artefacts.tables import read_info
from sg.core.errors import ConfigError, MissingInputError
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint, text_seed
from sg.core.identity import NOT_IDENTITY, Identity, identity
from sg.core.mistakes import nearest
from sg.core.progress import track
from sg.core.scales import parse_scale
from sg.sources.config import DataConfig
from sg.sources.registry import SOURCES
from sg.sources.scan.current import is_current, manifest_info, rows_settings

log = logging.getLogger(__name__)

MIX_VERSION = 3
"""Raise it when the same sources and settings would give other rows."""
_LOCAL_IDS = ("demo", "folder")
"""Sources whose ids are unique in one folder only."""


@dataclass
class MixPart:
    """One source of a mix.

    Attributes:
        dir: folder of its artefacts, with the manifest that its own scan made (`data.dir` of the source).
        weight: its share of the mix is `weight` over the sum of all weights; 0 leaves it out. If it is null for all
            sources, the shares follow their sizes.
        videos: folder of its video files; null takes the folder that its manifest records, or `videos` in `dir`.
    """

    dir: str = field(default="???", metadata=NOT_IDENTITY)
    weight: float | None = None
    videos: str | None = field(default=None, metadata=NOT_IDENTITY)


@dataclass
class MixDataConfig(DataConfig):
    """Several scanned sources, drawn by weight; `videos` is a folder above the video files of all of them.

    Attributes:
        sources: the sources by any name.
        size: videos to draw, written as a scale; the draw of a size begins with that of every smaller one.
        seed: of the draw.
    """

    # OmegaConf cannot add an entry of a declared type by its keys (`+data.sources.NAME.dir=DIR`).
    sources: dict[str, Any] = field(default_factory=dict)
    size: str = field(default="all", metadata={"identity": parse_scale})
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_scale(self.size, "data.size")
        self.sources = {name: _part(name, part) for name, part in self.sources.items()}
        by_name = {name: part.weight for name, part in self.sources.items()}
        weights = list(by_name.values())
        shown = ", ".join(f"{name}: {'null' if weight is None else weight}" for name, weight in by_name.items())
        if any(weight is not None and not 0 <= weight < 1e9 for weight in weights):
            raise ConfigError(f"data.sources has the weights {shown}: expected numbers of 0 or more.")
        if None in weights and any(weights):
            raise ConfigError(
                f"data.sources has the weights {shown}: give one to every source with data.sources.NAME.weight=NUMBER "
                "(+data.sources.NAME.weight=NUMBER for a source that you added; 0 leaves one out), or to none."
            )
        for name in self.sources:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name):
                raise ConfigError(f"data.sources.{name} names videos: expected up to 40 letters, digits and dashes.")

    @property
    def drawn(self) -> dict[str, MixPart]:
        """The sources with a weight."""
        return {name: part for name, part in self.sources.items() if part.weight != 0}

    @property
    def part_folders(self) -> tuple[Path, ...]:
        """The folders of the sources with a weight."""
        return tuple(Path(part.dir) for part in self.drawn.values())

    @property
    def has_current_manifest(self) -> bool:
        """Whether it was drawn with these settings from these folders, even if their manifests have changed since."""
        info = read_info(self.manifest_path)
        return bool(info) and (info.get("settings"), info.get("folders")) == (_settings(self), _folders(self))

    @property
    def token_source(self) -> str:
        """Equal for all mixes of the same sources, so that mixes of other weights share their visual tokens."""
        return f"mix-{fingerprint(sorted(self.sources))}"


def _part(name: str, part: Any) -> MixPart:
    """The settings of one source, which a command line gives as a mapping.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type.
    """
    if isinstance(part, MixPart):
        return part
    known = [each.name for each in fields(MixPart)]
    if not isinstance(part, Mapping):
        raise ConfigError(f"data.sources.{name}={part!r} should be the settings of a source: {', '.join(known)}.")
    for key in part:
        if key not in known:
            hint = nearest(str(key), known)
            raise ConfigError(f"data.sources.{name} has no key {key!r}{hint}: there are {', '.join(known)}.")
    folder, weight, videos = (part.get(key) for key in known)
    if not isinstance(folder, str):
        raise ConfigError(f"data.sources.{name} needs the folder of its manifest: give data.sources.{name}.dir=DIR.")
    if isinstance(weight, bool) or not isinstance(weight, int | float | None):
        raise ConfigError(f"data.sources.{name}.weight={weight!r} should be a number, or null.")
    return MixPart(folder, weight, None if videos is None else str(videos))


@dataclass(frozen=True, slots=True)
class _MixSource:
    name: str
    manifest: Manifest
    """Usable rows."""
    prefix: str
    """Path of its video files below those of the mix."""
    weight: float


@SOURCES.register("mix", MixDataConfig)
def draw_mix(config: MixDataConfig) -> Path:
    """Make the manifest of a mix, or keep it when nothing has changed; returns its path.

    Only usable videos are drawn. A video of several sources is drawn once, from the source that is named first.

    Raises:
        MissingInputError: a source has no manifest.
        ConfigError: there is no source, a source is outside of `data.videos`, or all sources together have fewer videos
            than `data.size`.
    """
    path, size = config.manifest_path, _num_videos(config)
    sources = [_source(config, name, part) for name, part in config.drawn.items()]
    if not sources:
        raise ConfigError("data.sources names no source with a weight above 0: give it as data.sources.NAME.dir=DIR.")
    work, videos = _identity(config, sources), Path(config.videos)
    with file_lock(path.with_suffix(".lock")):
        if not is_current(path, videos, work) or not config.has_current_manifest:
            rows = list(_drawn(sources, config.seed, size))
            if size is not None and len(rows) < size:
                raise ConfigError(
                    f"data.size={config.size} is more than the {len(rows):,} usable videos of the sources."
                )
            info = {
                **manifest_info(path, "mix", videos, work),
                "settings": _settings(config),
                "folders": _folders(config),
                "drawn": dict(Counter(name for name, _ in rows)),
                "youtube_videos_of_several_sources": _shared_youtube_videos(rows),
            }
            write_manifest(path, (row for _, row in rows), info)
    info = read_info(path)
    drawn = ", ".join(f"{info['drawn'].get(source.name, 0):,} of {source.name}" for source in sources)
    log.info("mix: %s; %d YouTube videos are in several", drawn, info["youtube_videos_of_several_sources"])
    return path


def draw_order(ids: Mapping[str, list[str]], weights: Mapping[str, float], seed: int) -> list[tuple[str, int]]:
    """(source, row) of every video, in the order in which a mix draws them."""
    turns = []
    for number, (name, names) in enumerate(ids.items()):
        queue = sorted(range(len(names)), key=lambda row: (text_seed("mix", seed, names[row]), names[row]))
        turns += [((place + 1) / weights[name], number, place, name, row) for place, row in enumerate(queue)]
    return [(name, row) for _, _, _, name, row in sorted(turns)]


def _num_videos(config: MixDataConfig) -> int | None:
    """Videos to draw; None for all. A mix of demo worlds has `captions_per_k` videos per thousand, as in its scales."""
    size = parse_scale(config.size)
    return None if size is None else size * config.captions_per_k // 1000


def _settings(config: MixDataConfig) -> dict[str, Any]:
    """The settings that decide what is drawn; a source of weight 0 is left out as if it were not named."""
    drawn = replace(config, sources=config.drawn)
    return {"mix": rows_settings(drawn), "captions_per_k": config.captions_per_k, "version": MIX_VERSION}


def _folders(config: MixDataConfig) -> list[list[str]]:
    """Where the sources are on this machine. If these change, the rows may differ, so the mix is drawn again."""
    return [[name, str(Path(part.dir).resolve()), str(part.videos)] for name, part in config.drawn.items()]


def _identity(config: MixDataConfig, sources: list[_MixSource]) -> Identity:
    # A list, because the order counts: a video of several sources is drawn from the first one.
    drawn = [[source.name, source.weight, source.prefix, source.manifest.content_hash] for source in sources]
    return identity("mix", settings=_settings(config), inputs={"sources": drawn}, version=MIX_VERSION)


def _source(config: MixDataConfig, name: str, part: MixPart) -> _MixSource:
    path = Path(part.dir) / "manifest.parquet"
    if not path.is_file():
        raise MissingInputError(
            f"There is no manifest {path}: scan data.sources.{name} first with `python -m sg.sources data={name}`, or "
            f"leave it out with data.sources.{name}.weight=0."
        )
    manifest = read_manifest(path)
    usable = manifest.usable()
    videos = Path(part.videos).resolve() if part.videos else recorded_videos(path, manifest.info)
    root = Path(config.videos).resolve()
    if not videos.is_relative_to(root):
        raise ConfigError(
            f"The videos of data.sources.{name} are in {videos}, outside data.videos={config.videos}: name a folder "
            "above the videos of all sources."
        )
    if not videos.is_dir():
        raise ConfigError(
            f"There is no folder {videos} of the videos of data.sources.{name}: give it with "
            f"data.sources.{name}.videos=DIR."
        )
    prefix = videos.relative_to(root).as_posix()
    weight = float(len(usable)) if part.weight is None else part.weight
    return _MixSource(name, usable, "" if prefix == "." else f"{prefix}/", weight)


def _drawn(sources: list[_MixSource], seed: int, size: int | None) -> Iterator[tuple[str, VideoRecord]]:
    """Yield the videos of a mix in their order, each with the name of its source."""
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
    """The row with an id that no video of another source has."""
    if row.source not in _LOCAL_IDS:
        return row
    video_id = f"{source}-{row.video_id}"
    return replace(row, video_id=video_id if len(video_id) <= MAX_ID_BYTES else safe_video_id(video_id))


def _shared_youtube_videos(rows: list[tuple[str, VideoRecord]]) -> int:
    """YouTube videos of which several sources have a part: other parts, but not independent of each other."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, row in rows:
        if youtube_id := json.loads(row.extra).get("youtube_id"):
            owners[youtube_id].add(name)
    return sum(len(names) > 1 for names in owners.values())


def _with_origin(extra: str, name: str) -> str:
    return json.dumps({**json.loads(extra), "mixed_from": name}, sort_keys=True)
