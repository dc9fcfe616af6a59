"""Curators that only look at one thing a video: a hash of its id, or the length of its caption."""

import numpy as np

from sg.curate.baselines.config import LongestCaptionConfig, RandomConfig
from sg.curate.removals import Removals
from sg.curate.videos import Videos


def random_removals(videos: Videos, config: RandomConfig) -> Removals:
    """A random order that an id keeps whatever other videos there are: the highest hash goes first."""
    return Removals.plain(np.argsort(videos.keys)[::-1].astype(np.int64))


def longest_caption_removals(videos: Videos, config: LongestCaptionConfig) -> Removals:
    """The shortest caption goes first; of equal ones the highest hash."""
    return Removals.plain(np.lexsort((videos.keys, -videos.caption_length))[::-1].astype(np.int64))
