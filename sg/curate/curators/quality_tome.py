"""Quality with diversity: the worst captions are removed by score, then ToMe merges the remaining videos."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.judged import SCORES, judged_content
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import check_share
from sg.curate.curators.quality import worst_first
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.tome.settings import TomeConfig
from sg.curate.videos import Videos


@dataclass
class QualityTomeConfig(TomeConfig):
    """ToMe among the videos with good captions.

    Attributes:
        judged: the file that `python -m sg.caption judge` wrote beside the captions.
        score: precision, recall, f1 or alignment.
        good_share: share of the videos that counts as good: cores up to it are diverse, larger ones go by score.
    """

    name: str = field(default="quality_tome", metadata=NOT_IDENTITY)
    judged: str = field(default="???", metadata={"identity": judged_content})
    score: str = "f1"
    good_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.score", self.score, SCORES)
        check_share("good_share", self.good_share)


@CURATORS.register("quality_tome", QualityTomeConfig)
def curate_by_quality_and_tome(inputs: CuratorInputs, config: QualityTomeConfig) -> Curated:
    """The removals by score down to `good_share` first, then the merges of the good videos.

    Raises:
        MissingInputError: the captions have not been judged.
        DataError: no caption has this score.
    """
    from sg.curate.tome.merge import merge_videos

    videos = inputs.read_videos(config.seed, order=config.order, dtype=config.dtype, center=config.center)
    order = worst_first(videos, config.judged, config.score)
    cut = len(order) - max(1, round(config.good_share * len(order)))
    rows = np.sort(order[cut:])
    merged, rounds = merge_videos(_only(videos, rows), config, inputs.store)
    into = np.where(merged.into >= 0, rows[merged.into], -1)
    among_good = dataclasses.replace(merged, video=rows[merged.video], into=into)
    removals = Removals.join([Removals.plain(order[:cut]), among_good])
    return Curated.of(videos, removals, rounds=[dataclasses.asdict(record) for record in rounds])


def _only(videos: Videos, rows: NDArray[np.int64]) -> Videos:
    """The videos in rising `rows`, numbered from 0."""
    _, first, family = np.unique(videos.family[rows], return_index=True, return_inverse=True)
    ids = [videos.ids[row] for row in rows.tolist()]
    return Videos(ids, videos.keys[rows], videos.unit[rows], first[family], videos.caption_length[rows])
