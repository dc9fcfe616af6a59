"""Self-supervised prototypes (Sorscher 2022): the most typical videos are removed first."""

from dataclasses import dataclass, field

import numpy as np

from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import check_positive
from sg.curate.clustering import Rows
from sg.curate.curators.semdedup import cell_of_each
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig
from sg.curate.videos import Videos


@dataclass
class PrototypesConfig(CuratorConfig):
    """Self-supervised prototypes (Sorscher 2022): videos are removed by their cosine to the nearest k-means centre.

    Attributes:
        name: folder of the result.
        seed: draws the initial centres.
        cells: number of prototypes; fewer for small corpora.
        keep: `hard` keeps videos far from their prototype, `easy` those near to it.
        steps: Lloyd steps.
    """

    name: str = field(default="ssl_prototypes", metadata=NOT_IDENTITY)
    cells: int = 1000
    keep: str = "hard"
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.keep", self.keep, ("hard", "easy"))
        check_positive(cells=self.cells, steps=self.steps)


@CURATORS.register("ssl_prototypes", PrototypesConfig)
def curate_by_prototypes(inputs: CuratorInputs, config: PrototypesConfig) -> Curated:
    """Videos by their cosine to the nearest prototype: with `hard`, the most typical one is removed first."""
    videos = inputs.read_videos(config.seed)
    return Curated.of(videos, Removals.plain(order_by_prototype(videos, np.arange(len(videos)), config)))


def order_by_prototype(videos: Videos, rows: Rows, config: PrototypesConfig) -> Rows:
    """`rows` [n] in the order of removal, by prototypes of those rows alone; of equal cosines the higher row first."""
    _, cosine = cell_of_each(videos.unit[rows], config.cells, config.seed, config.steps)
    key = -cosine if config.keep == "hard" else cosine
    return rows[np.lexsort((-rows, key))]
