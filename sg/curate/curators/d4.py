"""D4: SemDeDup, then prototypes on the videos that it leaves."""

from dataclasses import dataclass, field

from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import KEEPS, check_positive, check_share
from sg.curate.curators.semdedup import SemDedupConfig, split_after_dedup
from sg.curate.curators.ssl_prototypes import PrototypesConfig, order_by_prototype
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig


@dataclass
class D4Config(CuratorConfig):
    """D4 (arXiv 2308.12284): SemDeDup down to a share, new clusters, then prototypes.

    Attributes:
        name: folder of the result.
        seed: draws the initial centres.
        cells: cells of both clusterings; fewer for small corpora.
        dedup_share: share of the videos that remains after de-duplication.
        dedup_keep: `keep` of the de-duplication.
        keep: `keep` of the prototypes.
        steps: Lloyd steps.
    """

    name: str = field(default="d4", metadata=NOT_IDENTITY)
    cells: int = 1000
    dedup_share: float = 0.75
    dedup_keep: str = "hard"
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.dedup_keep", self.dedup_keep, KEEPS)
        check_choice("curator.keep", self.keep, ("hard", "easy"))
        check_share("dedup_share", self.dedup_share)
        check_positive(cells=self.cells, steps=self.steps)


@CURATORS.register("d4", D4Config)
def curate_by_d4(inputs: CuratorInputs, config: D4Config) -> Curated:
    """The removals of SemDeDup down to `dedup_share` first, then the remaining videos by prototypes of their own."""
    videos = inputs.read_videos(config.seed)
    dedup = SemDedupConfig(seed=config.seed, cells=config.cells, keep=config.dedup_keep, steps=config.steps)
    removed, remaining = split_after_dedup(videos, dedup, config.dedup_share)
    prototypes = PrototypesConfig(seed=config.seed, cells=config.cells, keep=config.keep, steps=config.steps)
    order = order_by_prototype(videos, remaining, prototypes)
    return Curated.of(videos, Removals.join([removed, Removals.plain(order)]))
