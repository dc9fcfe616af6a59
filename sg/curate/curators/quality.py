"""The best captions stay: videos are removed by the judged score of their captions."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.judged import SCORES, judged_content, read_scores
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig
from sg.curate.videos import Videos


@dataclass
class QualityConfig(CuratorConfig):
    """The videos with the best captions stay, by the scores of a judge.

    Attributes:
        judged: the file that `python -m sg.caption judge` wrote beside the captions.
        score: precision, recall, f1 or alignment.
    """

    name: str = field(default="quality", metadata=NOT_IDENTITY)
    judged: str = field(default="???", metadata={"identity": judged_content})
    score: str = "f1"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.score", self.score, SCORES)


@CURATORS.register("quality", QualityConfig)
def curate_by_quality(inputs: CuratorInputs, config: QualityConfig) -> Curated:
    """The video with the lowest score is removed first; videos without a score come before it.

    Raises:
        MissingInputError: the captions have not been judged.
        DataError: no caption has this score.
    """
    videos = inputs.read_videos(config.seed)
    return Curated.of(videos, Removals.plain(worst_first(videos, config.judged, config.score)))


def worst_first(videos: Videos, judged: str, score: str) -> NDArray[np.int64]:
    """[N] the rows of the videos by rising score; rows without one come first, and of equal ones the highest hash."""
    scores = read_scores(Path(judged), score)
    values = np.array([scores.get(video_id, -np.inf) for video_id in videos.ids])
    return np.lexsort((videos.keys, -values))[::-1].astype(np.int64)
