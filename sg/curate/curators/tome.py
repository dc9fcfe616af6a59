"""ToMe as a curator: rounds of bipartite matching from all videos down to one (`sg.curate.tome`)."""

import dataclasses

from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.tome.settings import TomeConfig


@CURATORS.register("tome", TomeConfig)
def curate_by_tome(inputs: CuratorInputs, config: TomeConfig) -> Curated:
    """The merge forest by ToMe, with a record of each round."""
    from sg.curate.tome.merge import merge_videos

    videos = inputs.read_videos(config.seed, order=config.order, dtype=config.dtype, center=config.center)
    removals, rounds = merge_videos(videos, config, inputs.store)
    return Curated.of(videos, removals, rounds=[dataclasses.asdict(record) for record in rounds])
