"""Settings of `python -m sg.report`."""

from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError


@dataclass
class GalleryConfig:
    """The cluster gallery. A file that is null is the one that the runs recorded.

    Attributes:
        manifest, forest, videos, captions: the files to show; videos is the folder of the video files.
        core_size: number of clusters that the corpus is merged to; null for the smallest scale of the study.
        clusters_per_kind: clusters shown per kind (largest, least similar, random); 0 for no gallery.
        members: videos shown per cluster.
        pictures: number of clusters with a picture on the gallery page; null for all.
    """

    manifest: str | None = None
    forest: str | None = None
    videos: str | None = None
    captions: str | None = None
    core_size: int | None = None
    clusters_per_kind: int = 2
    members: int = 4
    pictures: int | None = 120

    def __post_init__(self) -> None:
        given = [name for name in ("manifest", "forest", "videos") if getattr(self, name)]
        if given and len(given) < 3:
            raise ConfigError(
                f"gallery.{given[0]} needs the other files too: set gallery.manifest, gallery.forest and "
                "gallery.videos together."
            )
        if self.clusters_per_kind < 0 or self.members < 1:
            raise ConfigError(
                f"gallery.clusters_per_kind={self.clusters_per_kind} should be 0 or more and "
                f"gallery.members={self.members} should be 1 or more."
            )
        if self.pictures is not None and self.pictures < 0:
            raise ConfigError(
                f"gallery.pictures={self.pictures} should be a number of clusters of 0 or more, or null for all."
            )
        if self.core_size is not None and self.core_size < 1:
            raise ConfigError(
                f"gallery.core_size={self.core_size} should be a number of clusters of 1 or more, or null."
            )


@dataclass
class ReportConfig:
    """The report on one study.

    Attributes:
        study: the folder that holds the runs, such as runs/demo_scaling-<hash>.
        usd_per_hour: price of one hour of one device in US dollars, for the cost of a gain; null for costs in hours
            only.
    """

    study: str = "???"
    usd_per_hour: float | None = None
    gallery: GalleryConfig = field(default_factory=GalleryConfig)
    logger: Any = None

    def __post_init__(self) -> None:
        if self.usd_per_hour is not None and self.usd_per_hour < 0:
            raise ConfigError(
                f"usd_per_hour={self.usd_per_hour} should be a price in US dollars of 0 or more, or null."
            )


register(None, "report_schema", ReportConfig)
