from collections.abc import Iterable

import numpy as np

from sg.artefacts.forest import NO_ROUND, Forest


def plain_forest(video_ids: Iterable[str]) -> Forest:
    """The videos in order of their removal; none is merged into another one."""
    ids = list(video_ids)
    none = np.full(len(ids), np.nan, np.float32)
    alone, rounds = np.full(len(ids), -1), np.full(len(ids), NO_ROUND, np.int32)
    return Forest(ids, alone, none, rounds, np.ones(len(ids), np.int64), none)
