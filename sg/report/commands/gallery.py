"""`python -m sg.report gallery forest=FILE ...`: the gallery of the clusters of a core, without a study."""

from dataclasses import dataclass
from pathlib import Path

from sg.core.commands import command, register
from sg.core.errors import ConfigError


@dataclass
class ClusterGalleryConfig:
    """Settings of a gallery without a study. `python -m sg.curate gallery=true` fills them in.

    Attributes:
        forest, manifest, videos, captions: the merge forest, the manifest, the folder of the video files, and the
            captions, which may be null.
        core_size: number of clusters that the corpus is merged to.
        output: folder to write to; null for `gallery` beside the forest.
        clusters_per_kind: clusters with a contact sheet per kind (largest, least similar, random).
        members: videos shown per cluster.
        pictures: number of clusters with pictures; null for all.
    """

    forest: str = "???"
    manifest: str = "???"
    videos: str = "???"
    core_size: int = 0
    captions: str | None = None
    output: str | None = None
    clusters_per_kind: int = 2
    members: int = 4
    pictures: int | None = 120

    def __post_init__(self) -> None:
        if self.core_size < 1 or self.clusters_per_kind < 1 or self.members < 1:
            raise ConfigError(
                f"core_size={self.core_size}, clusters_per_kind={self.clusters_per_kind} and members={self.members} "
                "should be 1 or more."
            )


register(None, "gallery_schema", ClusterGalleryConfig)


def gallery(config: ClusterGalleryConfig) -> None:
    """Write the gallery page and the contact sheets, and print the path of the page."""
    from sg.report.figures.contact_sheets import build_contact_sheets, write_sheets
    from sg.report.numbers.clusters import StudyInputs
    from sg.report.pages.gallery import write_gallery

    forest, manifest, videos = Path(config.forest), Path(config.manifest), Path(config.videos)
    inputs = StudyInputs(manifest, forest, videos, Path(config.captions) if config.captions else None)
    folder = Path(config.output) if config.output else forest.parent / "gallery"
    sheets = build_contact_sheets(inputs, config.core_size, config.clusters_per_kind, config.members)
    written = write_gallery(folder, inputs, config.core_size, config.members, config.pictures)
    write_sheets(sheets, folder)
    print(f"{written.clusters:,} clusters, {written.pictures:,} of them with pictures: {written.page}")


main = command("gallery", ClusterGalleryConfig)(gallery)
