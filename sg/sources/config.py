"""Settings that all sources share, and the settings of `python -m sg.sources`.

The settings of each source are in its own file in `sg/sources/sets`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.arms import HEADLINE, check_control
from sg.artefacts.manifest import recorded_videos
from sg.artefacts.tables import read_info
from sg.core.commands import register
from sg.core.crew.workers import ENGINES
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY, Identity
from sg.core.mistakes import check_choice, check_folder_name
from sg.core.output import TEXT, check_format
from sg.core.places.config import PathsConfig
from sg.core.places.mirror import mirrored
from sg.core.scales import parse_scale

if TYPE_CHECKING:
    from sg.demo.config import DemoWorldConfig

CAPTIONS_FOLDER = "captions"
_TRAIN = "it is a setting of train.py, and this step takes all videos"
OF_TRAINING = dict.fromkeys(("data.scale", "data.control", "data.control_scale", "data.held_out"), _TRAIN)
"""Keys of `data` that only training uses, with what the other commands say about them."""


@dataclass
class HeldOutConfig:
    """The captions that no run trains on. Every run reports its loss on them.

    Attributes:
        videos: largest number of them, and at most 5 % of the captioned videos; 0 holds none out.
        max_similarity: largest cosine similarity of a held-out video with any other one, in the embeddings of the run.
        dialogs: a file of dialogs about videos below `data.videos`, instead of a draw from the captions.
    """

    videos: int = 2000
    max_similarity: float = 0.95
    dialogs: str | None = None

    def __post_init__(self) -> None:
        if (self.dialogs or not self.videos) and self.max_similarity != type(self).max_similarity:
            raise ConfigError(
                f"data.held_out.max_similarity={self.max_similarity} is for a draw: it needs data.held_out.videos "
                "above 0, and no data.held_out.dialogs."
            )
        if self.videos < 0 or not 0 < self.max_similarity <= 1:
            raise ConfigError(
                f"data.held_out.videos={self.videos} should be 0 or more, "
                f"data.held_out.max_similarity={self.max_similarity} above 0 and at most 1."
            )


@dataclass
class DataConfig:
    """The settings of every source, and the properties of a source that other steps use.

    A source overrides the properties and methods below where it differs from a folder of videos that somebody scanned.

    Attributes:
        name: names the data in folders and tables.
        dir: folder of its artefacts: manifest, captions, vectors, merge forest.
        videos: folder of its video files; "" takes that of the last scan, or without a scan `videos` in `dir`. After a
            scan also an address that a captioning service reads, such as gs://bucket/folder.
        scale: captions to train on: 0, 50k, 100000, all.
        control: the arm of the study, `none` or a name of `sg.artefacts.arms`, which says what each one is.
        control_scale: the scale whose number of steps `equal_steps` takes.
        held_out: the captions that no run trains on.
        captions_per_k: videos that stand for a thousand captions of a scale; 1000 except in the demo world.
    """

    option = ""
    """The file of `conf/data` that selected these settings on the command line; "" where it is not known."""

    name: str = "???"
    dir: str = field(default="???", metadata=NOT_IDENTITY)
    videos: str = field(default="???", metadata=NOT_IDENTITY)
    # These differ between the runs of a study. The samples that they select are part of the identity of a stage.
    scale: str = field(default="all", metadata=NOT_IDENTITY)
    control: str = field(default=HEADLINE, metadata=NOT_IDENTITY)
    control_scale: str = field(default="all", metadata=NOT_IDENTITY)
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig, metadata=NOT_IDENTITY)
    captions_per_k: int = 1000

    def __post_init__(self) -> None:
        check_folder_name("data.name", self.name)
        check_control(self.control)
        if self.captions_per_k < 1:
            raise ConfigError(f"data.captions_per_k={self.captions_per_k} should be at least 1.")
        parse_scale(self.scale)
        parse_scale(self.control_scale, "data.control_scale")
        if not self.videos:
            self.videos = str(recorded_videos(self.manifest_path, read_info(self.manifest_path)))

    @property
    def manifest_path(self) -> Path:
        """The manifest of this data."""
        return Path(self.dir) / "manifest.parquet"

    @property
    def is_remote(self) -> bool:
        """Whether `videos` is an address instead of a folder."""
        return "://" in self.videos

    @property
    def videos_folder(self) -> Path:
        """The folder of the videos; for an address, the local path that stands for it, whose files are read by ranges.

        Raises:
            ConfigError: the package of the address is not installed.
        """
        return mirrored(self.videos, "data.videos", copied=False) if self.is_remote else Path(self.videos)

    def captions_path(self, captioner: str) -> Path:
        """The captions that the captioner of this name wrote."""
        return Path(self.dir) / CAPTIONS_FOLDER / captioner / "captions.parquet"

    def vectors_folder(self, embedder: str) -> Path:
        """The vectors that the embedder of this name made."""
        return Path(self.dir) / "embeddings" / embedder

    @property
    def part_folders(self) -> tuple[Path, ...]:
        """Folders of the artefacts of the sources of a mix; empty for all other data."""
        return ()

    @property
    def is_made_on_the_way(self) -> bool:
        """Whether a run makes manifest, captions, vectors and merge forest itself, because that takes only minutes."""
        return False

    @property
    def has_current_manifest(self) -> bool:
        """Whether the other steps read the existing manifest without a new scan.

        By default they do: a walk through half a million files takes minutes on a network disk.
        """
        return self.manifest_path.is_file()

    def manifest_identity(self) -> Identity | None:
        """Identity of the manifest that a run would make; None if the run takes the existing manifest as it is."""
        return None

    @property
    def token_source(self) -> str:
        """Prefix of the names of this data's videos in the cache of visual tokens."""
        return self.name

    @property
    def expected_captions(self) -> int | None:
        """Captioned videos, where the settings alone decide the number; None for data that has to be read."""
        return None

    @property
    def demo_world(self) -> DemoWorldConfig | None:
        """The demo world that this data comes from, with its dialogs and benchmark; None for real data."""
        return None

    @property
    def command_words(self) -> tuple[str, ...]:
        """Overrides that select this data on a command line, if curation may caption and embed it first; else empty."""
        return ()

    def check_place(self) -> None:
        """Check before a run that the folder of artefacts does not hold other data; ConfigError if it does."""

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """Each file or folder of the user that does not exist, as a sentence, with the setting that names it."""
        if not self.videos_folder.is_dir():
            yield f"videos: there is no folder {self.videos}", "data.videos=DIR"


@dataclass
class ScannedDataConfig(DataConfig):
    """Data whose video files are opened one by one in a scan.

    Attributes:
        engine: where the files are opened: `local`, or `ray` for a Ray cluster (the one at RAY_ADDRESS, or a new one on
            this machine).
        workers: processes that open the files; 0 takes one per core. With Ray, those of each worker.
        timeout_s: seconds after which the scan gives up a file that blocks its reader.
    """

    engine: str = field(default="local", metadata=NOT_IDENTITY)
    workers: int = field(default=0, metadata=NOT_IDENTITY)
    timeout_s: float = field(default=300.0, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("data.engine", self.engine, ENGINES)
        if self.workers < 0 or not self.timeout_s > 0:
            raise ConfigError(
                f"data.workers={self.workers} should be 0 or more, and data.timeout_s={self.timeout_s} above 0."
            )


@dataclass
class AnnotatedDataConfig(ScannedDataConfig):
    """A published dataset: its annotation files, and its video files in a folder of any layout.

    Attributes:
        annotations: an annotation file, a folder of them, or a glob pattern; null takes the `.json` file that
            video2dataset writes beside each video file.
        splits: splits to take, by the names of the annotation files or their rows; an empty list takes all.
        long_videos: folder of whole videos named by YouTube id; missing clips are cut from them into `videos`.
        benchmark: folder of a benchmark, or a file that names its videos; videos of the benchmark are left out.
    """

    annotations: str | None = field(default=None, metadata=NOT_IDENTITY)
    splits: list[str] = field(default_factory=list)
    long_videos: str | None = field(default=None, metadata=NOT_IDENTITY)
    benchmark: str | None = field(default=None, metadata=NOT_IDENTITY)

    def missing_files(self) -> Iterator[tuple[str, str]]:
        """The folder of videos, unless the scan itself fills it from whole videos."""
        if not self.long_videos:
            yield from super().missing_files()

    @property
    def further_files(self) -> tuple[str, ...]:
        """Files besides the annotations that the reader of the dataset takes rows or names from."""
        return ()


@dataclass
class SourcesConfig:
    """The settings of `python -m sg.sources`."""

    data: Any = None
    format: str = TEXT
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        check_format(self.format)


register(None, "sources_schema", SourcesConfig)
