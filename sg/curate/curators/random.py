"""A random order: the control for every claim about pruning."""

from dataclasses import dataclass, field

import numpy as np

from sg.core.identity import NOT_IDENTITY
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig


@dataclass
class RandomConfig(CuratorConfig):
    """A random order by the hash of the id: the control that every claim about pruning needs."""

    name: str = field(default="random", metadata=NOT_IDENTITY)


@CURATORS.register("random", RandomConfig)
def curate_at_random(inputs: CuratorInputs, config: RandomConfig) -> Curated:
    """The video with the highest hash is removed first. So an id keeps its place relative to any other id."""
    videos = inputs.read_videos(config.seed)
    return Curated.of(videos, Removals.plain(np.argsort(videos.keys)[::-1].astype(np.int64)))
