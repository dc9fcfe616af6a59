"""Settings of the data that a study trains on, and their checks."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.artefacts.result import CONTROLS
from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.paths import PathsConfig
from sg.core.scales import parse_scale
from sg.demo.config import DemoWorldConfig

CAPTIONS_FOLDER = "captions"


@dataclass
class DataConfig:
    """What every source has.

    Attributes:
        name: names the data in folders and tables.
        dir: folder of its artefacts: manifest, captions, vectors, merge forest.
        videos: folder of its films.
        scale: captions to train on: 0, 50k, 100000, all.
        control: `none`, `equal_steps` (repeat the core until it has the steps of `control_scale`), or `random` (a
            random draw of the same size instead of the core).
        control_scale: the scale whose number of steps `equal_steps` takes.
        captions_per_k: videos that stand for a thousand captions of a scale; 1000 but in the demo world.
    """

    name: str = "???"
    dir: str = "???"
    videos: str = "???"
    scale: str = "all"
    control: str = "none"
    control_scale: str = "all"
    captions_per_k: int = 1000

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ConfigError(f"data.name={self.name!r} names a folder: expected letters, digits, dots and dashes.")
        if self.control not in ("none", *CONTROLS):
            raise ConfigError(f"data.control={self.control!r} should be one of none, {', '.join(CONTROLS)}.")
        if self.captions_per_k < 1:
            raise ConfigError(f"data.captions_per_k={self.captions_per_k} should be at least 1.")
        parse_scale(self.scale)
        parse_scale(self.control_scale)

    @property
    def manifest_path(self) -> Path:
        """The manifest of this data."""
        return Path(self.dir) / "manifest.parquet"

    def captions_path(self, captioner: str) -> Path:
        """The captions that the captioner of this name wrote."""
        return Path(self.dir) / CAPTIONS_FOLDER / captioner / "captions.parquet"

    def vectors_folder(self, embedder: str) -> Path:
        """The vectors that the embedder of this name made."""
        return Path(self.dir) / "embeddings" / embedder

    @property
    def part_folders(self) -> tuple[Path, ...]:
        """Folders of the artefacts of the data that this is drawn from; none where it is drawn from films."""
        return ()

    @property
    def is_made_on_the_way(self) -> bool:
        """Whether a run makes manifest, captions, vectors and merge forest itself, because that costs minutes."""
        return False


@dataclass
class DemoDataConfig(DataConfig):
    """The procedural demo world; its films are rendered when they are first needed."""

    world: DemoWorldConfig = field(default_factory=DemoWorldConfig)

    @property
    def is_made_on_the_way(self) -> bool:
        """It is."""
        return True


@dataclass
class FolderDataConfig(DataConfig):
    """Any folder of clips, with captions in a CSV, JSONL or JSON file.

    Attributes:
        captions: the caption file; null for clips without captions.
        video_column: column or key that names the clip; null finds one of the usual names.
        caption_column: column or key of the text; null finds one of the usual names.
        workers: processes that look at the clips; 0 takes one a core.
        timeout_s: seconds after which a clip that hangs its reader is given up.
        world: the demo world that the tiny model's dialogs and benchmark come from.
    """

    captions: str | None = None
    video_column: str | None = None
    caption_column: str | None = None
    workers: int = 0
    timeout_s: float = 300.0
    world: DemoWorldConfig = field(default_factory=lambda: DemoWorldConfig(videos_per_k=1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers < 0 or not self.timeout_s > 0:
            raise ConfigError(f"data.workers={self.workers} and data.timeout_s={self.timeout_s} should be positive.")

    @property
    def is_made_on_the_way(self) -> bool:
        """It is: people bring few clips."""
        return True


@dataclass
class AnnotatedDataConfig(DataConfig):
    """A published set: its annotation files, and its films wherever they lie in a folder.

    Attributes:
        annotations: an annotation file, a folder of them, or a glob pattern; null takes the `.json` file that
            video2dataset writes beside each film.
        splits: splits to take, by the names of the annotation files or their rows; none takes all.
        shards: folder of video2dataset's tar files; their films are copied to `videos` before the scan.
        long_films: folder of whole films named by YouTube id; clips that are missing are cut from them into `videos`.
        benchmark: folder of a benchmark, or a file that names its videos; what it shares with the data is left out.
        workers: processes that look at the films; 0 takes one a core.
        timeout_s: seconds after which a film that hangs its reader is given up.
    """

    annotations: str | None = None
    splits: list[str] = field(default_factory=list)
    shards: str | None = None
    long_films: str | None = None
    benchmark: str | None = None
    workers: int = 0
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers < 0 or not self.timeout_s > 0:
            raise ConfigError(f"data.workers={self.workers} and data.timeout_s={self.timeout_s} should be positive.")


@dataclass
class WebVidDataConfig(AnnotatedDataConfig):
    """WebVid-2.5M or WebVid-10M."""


@dataclass
class Kinetics400DataConfig(AnnotatedDataConfig):
    """Kinetics-400."""


@dataclass
class InternVidDataConfig(AnnotatedDataConfig):
    """InternVid, any edition.

    Attributes:
        pattern: regular expression for file names without suffix, with the groups `id`, `start` and `end`; null knows
            the usual ways to write them.
    """

    pattern: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern is None:
            return
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise ConfigError(f"data.pattern={self.pattern!r} is no regular expression: {error}.") from error
        if not {"id", "start", "end"} <= groups:
            raise ConfigError(f"data.pattern={self.pattern!r} should have the groups (?P<id>), (?P<start>), (?P<end>).")


HDVILA_UNITS = ("clip", "window", "video")


@dataclass
class HdVilaDataConfig(AnnotatedDataConfig):
    """HD-VILA-100M.

    Attributes:
        unit: what a row of the manifest is: a `clip` of the annotations, a `window` of clips in a row, or the `video`.
        window_s: length that a window is filled up to.
    """

    unit: str = "clip"
    window_s: float = 300.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit not in HDVILA_UNITS or not self.window_s > 0:
            raise ConfigError(
                f"data.unit={self.unit!r} should be one of {', '.join(HDVILA_UNITS)}, and "
                f"data.window_s={self.window_s} above 0."
            )


@dataclass
class ShareGeminiDataConfig(AnnotatedDataConfig):
    """The caption files of ShareGemini, over films of WebVid and Kinetics-400.

    Attributes:
        name_map: the release's `webvid_videoname2id.json`; null where no film is named by its WebVid number.
    """

    name_map: str | None = None


@dataclass
class MixPart:
    """One source of a mix.

    Attributes:
        dir: folder of its artefacts, with the manifest that its own scan made (`data.dir` of the source).
        weight: its share of the mix is this over the sum of all weights; 0 leaves it out; null for all sources: as
            large as they are.
        videos: folder of its films; null takes what its manifest says, or `videos` in `dir`.
        world: the demo world that is made in `dir` when it is missing; null for everything else.
    """

    dir: str = "???"
    weight: float | None = None
    videos: str | None = None
    world: DemoWorldConfig | None = None


@dataclass
class MixDataConfig(DataConfig):
    """Several scanned sources, drawn by weight; `videos` is a folder above the films of all of them.

    Attributes:
        sources: the sources by any name.
        size: videos to draw, written as a scale; the draw of a size begins with that of every smaller one.
        seed: of the draw.
        world: the demo world that the tiny model's dialogs and benchmark come from.
    """

    sources: dict[str, MixPart] = field(default_factory=dict)
    size: str = "all"
    seed: int = 0
    world: DemoWorldConfig = field(default_factory=lambda: DemoWorldConfig(videos_per_k=1))

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_scale(self.size)
        weights = [part.weight for part in self.sources.values()]
        if any(weight is not None and not 0 <= weight < 1e9 for weight in weights):
            raise ConfigError(f"data.sources has the weights {weights}: expected numbers of 0 or more.")
        if None in weights and any(weights):
            raise ConfigError(f"data.sources has the weights {weights}: give one to every source, or to none.")
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
    def is_made_on_the_way(self) -> bool:
        """Whether it mixes demo worlds only."""
        return bool(self.drawn) and all(part.world is not None for part in self.drawn.values())


@dataclass
class SourcesConfig:
    """The settings of `python -m sg.sources`."""

    data: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)


register(None, "sources_schema", SourcesConfig)
register("data", "demo_schema", DemoDataConfig)
register("data", "folder_schema", FolderDataConfig)
register("data", "webvid_schema", WebVidDataConfig)
register("data", "kinetics400_schema", Kinetics400DataConfig)
register("data", "internvid_schema", InternVidDataConfig)
register("data", "hdvila_schema", HdVilaDataConfig)
register("data", "sharegemini_schema", ShareGeminiDataConfig)
register("data", "mix_schema", MixDataConfig)
