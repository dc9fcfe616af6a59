"""What a curator receives, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sg.artefacts.captions import Captions
from sg.artefacts.forest import Forest
from sg.artefacts.vectors import read_vectors
from sg.curate.removals import Removals, forest_of
from sg.curate.videos import Videos, load_videos, select_vectors

if TYPE_CHECKING:
    from sg.curate.tome.resume import RunStore


@dataclass(frozen=True, slots=True, eq=False)
class Curated:
    """The result of a curator: the merge forest, and what `curation.json` records about the run as plain data."""

    forest: Forest
    details: dict[str, Any]

    @staticmethod
    def of(videos: Videos, removals: Removals, **details: Any) -> Curated:
        """The result for videos in memory, from the order in which they are removed (every row once)."""
        duplicates = int((videos.family != np.arange(len(videos))).sum())
        forest = forest_of(videos.ids, videos.unit, removals, {})
        return Curated(forest, {"exact_duplicates": duplicates, **details})


@dataclass(frozen=True, slots=True, eq=False)
class CuratorInputs:
    """What a curator works on.

    Attributes:
        vectors: folder of the vectors.
        captions: the captions, if there are any and the curator uses them.
        video_ids: the videos to curate, in the order of the vectors.
        store: keeps the state of an unfinished run.
    """

    vectors: Path
    captions: Captions | None
    video_ids: Sequence[str]
    store: RunStore

    def read_videos(self, seed: int, *, order: str = "hashed", dtype: str = "float32", center: bool = False) -> Videos:
        """The videos in memory, see `load_videos`.

        Raises:
            DataError: the vectors are damaged.
            ConfigError: two ids have the same hash, or `center` leaves a video without a direction.
        """
        vectors = select_vectors(read_vectors(self.vectors), self.video_ids)
        return load_videos(vectors, self.captions, seed=seed, order=order, dtype=dtype, center=center)
