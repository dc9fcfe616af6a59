"""The longest captions stay: a control that looks at the text only."""

from dataclasses import dataclass, field

import numpy as np

from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import Removals
from sg.curate.settings import CuratorConfig


@dataclass
class LongestCaptionConfig(CuratorConfig):
    """The longest captions stay: a control that looks at the text only."""

    name: str = field(default="longest_caption", metadata=NOT_IDENTITY)

    @property
    def uses_captions(self) -> bool:
        """True: nothing else decides."""
        return True


@CURATORS.register("longest_caption", LongestCaptionConfig)
def curate_by_caption_length(inputs: CuratorInputs, config: LongestCaptionConfig) -> Curated:
    """The video with the shortest caption is removed first; among equal lengths the one with the highest hash.

    Raises:
        ConfigError: there are no captions.
    """
    if inputs.captions is None:
        raise ConfigError("curator=longest_caption needs captions: make them with `python -m sg.caption` first.")
    videos = inputs.read_videos(config.seed)
    order = np.lexsort((videos.keys, -videos.caption_length))[::-1]
    return Curated.of(videos, Removals.plain(order.astype(np.int64)))
