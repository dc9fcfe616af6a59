"""Settings of the command `python -m sg.curate`, and their checks."""

from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.mistakes import check_choice
from sg.core.places.config import PathsConfig
from sg.core.scales import parse_scale


@dataclass
class ArtefactName:
    """The `name` of the embedder or captioner that made an existing artefact; null takes the only one there is."""

    name: str | None = None


@dataclass
class CurateConfig:
    """The settings of `python -m sg.curate`.

    Attributes:
        data: the source.
        curator: the method; its settings derive from `sg.curate.settings.CuratorConfig`.
        embedder: the vectors to read.
        captioner: the captions whose lengths break ties, if there are any.
        missing: what to do about a usable video without a vector: `error`, or `skip` it.
        scales: core sizes to describe in `statistics.json`, as in `data.scale`; sizes above the number of videos are
            left out.
        export: core sizes to write as lists.
        benchmark_vectors: folder with vectors of a benchmark's videos, which are searched for in the cores.
        extend: core size at which videos that are new since the last run are added to the merge forest.
        forget: ids of videos to remove from the merge forest.
        gallery: write a page of the clusters of the smallest core in `scales`, with pictures, beside the forest.
        paths: folders of this machine.
    """

    data: Any = None
    curator: Any = None
    embedder: ArtefactName = field(default_factory=ArtefactName)
    captioner: ArtefactName = field(default_factory=ArtefactName)
    missing: str = "error"
    scales: list[str] = field(default_factory=list)
    export: list[str] = field(default_factory=list)
    benchmark_vectors: str | None = None
    extend: str | None = None
    forget: list[str] = field(default_factory=list)
    gallery: bool = False
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        check_choice("missing", self.missing, ("error", "skip"))
        if self.extend and self.forget:
            raise ConfigError("extend and forget change the merge forest in different ways: run one after the other.")
        for key, scales in (("scales", self.scales), ("export", self.export), ("extend", [self.extend or 0])):
            for scale in scales:
                parse_scale(scale, key)


register(None, "curate_schema", CurateConfig)
