"""Settings of the curators that ToMe is compared with."""

from dataclasses import dataclass, field

from sg.core.commands import register
from sg.curate.checks import KEEPS, check_choice, check_positive, check_rungs, check_seed, check_share


@dataclass
class RandomConfig:
    """A random order by the hash of the id: the control that every claim about pruning needs."""

    name: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass
class LongestCaptionConfig:
    """The longest captions stay: a control that looks at the text only."""

    name: str = "longest_caption"
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass
class KMeansConfig:
    """As many clusters as videos to keep; the video nearest to each centre stays.

    Attributes:
        name: folder of the result.
        seed: draws the first centres.
        rungs: sizes that get a clustering of their own, each on what the size before kept; then halves down to 1.
            Sizes between keep the videos nearest to their centre.
        rungs_of: size of the corpus that `rungs` are meant for; other corpora take the same proportions.
        steps: Lloyd steps of a clustering.
        largest_flat: clusterings of more clusters have two levels, which costs a small part of a flat one.
    """

    name: str = "kmeans"
    seed: int = 0
    rungs: list[float] = field(default_factory=lambda: [400.0, 200.0, 100.0, 50.0])
    rungs_of: float = 530.0
    steps: int = 10
    largest_flat: int = 1024

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_rungs(self.rungs, self.rungs_of)
        check_positive(steps=self.steps, largest_flat=self.largest_flat)


@dataclass
class SemDedupConfig:
    """SemDeDup (arXiv 2303.09540): in each cell, videos go by their highest cosine to one that ranks before them.

    As in the public code, and unlike the paper's text, a video that is gone still counts for those after it.

    Attributes:
        name: folder of the result.
        seed: draws the first centres, and the `random` rank.
        cells: k-means cells; fewer (a twentieth of the videos) for small corpora.
        keep: which ranks first in a cell: `hard` far from the centre, `easy` near to it, `random`.
        steps: Lloyd steps.
    """

    name: str = "semdedup"
    seed: int = 0
    cells: int = 1000
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_choice("keep", self.keep, KEEPS)
        check_positive(cells=self.cells, steps=self.steps)


@dataclass
class PrototypesConfig:
    """Self-supervised prototypes (Sorscher 2022): videos go by their cosine to the nearest k-means centre.

    Attributes:
        name: folder of the result.
        seed: draws the first centres.
        cells: number of prototypes; fewer for small corpora.
        keep: `hard` keeps videos far from their prototype, `easy` those near to it.
        steps: Lloyd steps.
    """

    name: str = "ssl_prototypes"
    seed: int = 0
    cells: int = 1000
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_choice("keep", self.keep, ("hard", "easy"))
        check_positive(cells=self.cells, steps=self.steps)


@dataclass
class D4Config:
    """D4 (arXiv 2308.12284): SemDeDup down to a share, new clusters, then prototypes.

    Attributes:
        name: folder of the result.
        seed: draws the first centres.
        cells: cells of both clusterings; fewer for small corpora.
        dedup_share: share of the videos that de-duplication leaves.
        dedup_keep: `keep` of the de-duplication.
        keep: `keep` of the prototypes.
        steps: Lloyd steps.
    """

    name: str = "d4"
    seed: int = 0
    cells: int = 1000
    dedup_share: float = 0.75
    dedup_keep: str = "hard"
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_choice("dedup_keep", self.dedup_keep, KEEPS)
        check_choice("keep", self.keep, ("hard", "easy"))
        check_share("dedup_share", self.dedup_share)
        check_positive(cells=self.cells, steps=self.steps)


@dataclass
class DbpConfig:
    """Density-based pruning (arXiv 2401.04578): de-duplicate, then give wide and lonely cells larger quotas.

    Attributes:
        name: folder of the result.
        seed: draws the first centres.
        cells: k-means cells; fewer for small corpora.
        dedup_share: share of the videos that de-duplication (SemDeDup) leaves.
        dedup_keep: `keep` of the de-duplication.
        neighbours: centres whose mean distance tells how lonely a cell is.
        temperature: of the softmax over (distance within x distance between); small favours wide cells more.
        keep: which videos of a cell stay longest.
        steps: Lloyd steps.
    """

    name: str = "dbp"
    seed: int = 0
    cells: int = 500
    dedup_share: float = 0.8
    dedup_keep: str = "hard"
    neighbours: int = 20
    temperature: float = 0.1
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_choice("dedup_keep", self.dedup_keep, KEEPS)
        check_choice("keep", self.keep, ("hard", "easy"))
        check_share("dedup_share", self.dedup_share)
        check_share("temperature", self.temperature)
        check_positive(cells=self.cells, neighbours=self.neighbours, steps=self.steps)


@dataclass
class HierarchicalKMeansConfig:
    """Balanced sampling through levels of k-means (arXiv 2405.15613), without the paper's resampling steps.

    Attributes:
        name: folder of the result.
        seed: draws the first centres.
        levels: number of clusters of each level, from the lowest to the top; fewer for small corpora.
        keep: in a lowest cluster, `random` or the videos nearest to the centre (`easy`) are taken first.
        steps: Lloyd steps of each level.
    """

    name: str = "hierarchical_kmeans"
    seed: int = 0
    levels: list[int] = field(default_factory=lambda: [20000, 1000, 50])
    keep: str = "random"
    steps: int = 10

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_choice("keep", self.keep, ("random", "easy"))
        check_positive(steps=self.steps, levels=min([len(self.levels), *self.levels]))


register("curator", "random_schema", RandomConfig)
register("curator", "longest_caption_schema", LongestCaptionConfig)
register("curator", "kmeans_schema", KMeansConfig)
register("curator", "semdedup_schema", SemDedupConfig)
register("curator", "ssl_prototypes_schema", PrototypesConfig)
register("curator", "d4_schema", D4Config)
register("curator", "dbp_schema", DbpConfig)
register("curator", "hierarchical_kmeans_schema", HierarchicalKMeansConfig)
