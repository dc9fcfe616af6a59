"""Settings of ToMe over shards, and their checks."""

import math
from dataclasses import dataclass, field

from sg.core.crew.workers import ENGINES
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import check_positive
from sg.curate.tome.settings import TomeConfig


@dataclass
class ShardedTomeConfig(TomeConfig):
    """ToMe for more vectors than one machine holds; the last `in_memory_below` tokens are merged as `tome` does it.

    Attributes:
        rows_per_shard: tokens per k-means cell; each cell is one file and one job.
        probed_shards: cells that a source is compared with in the first round: its own and the next nearest ones, so
            that pairs across borders are found. Later rounds probe more, in proportion to the tokens that are gone. As
            soon as every cell is probed, rounds are exact.
        sample_per_shard: rows per cell on which the centres of the cells are trained.
        in_memory_below: the run continues in memory as soon as at most this many tokens remain.
        engine: `local` works on one shard after another; `ray` distributes them over a Ray cluster (the one at
            RAY_ADDRESS, or a new one on this machine), whose nodes must see the folder of the result and the vectors
            under the same paths.
        gpus_per_job: GPUs that Ray reserves for each job.
    """

    name: str = field(default="tome_sharded", metadata=NOT_IDENTITY)
    rows_per_shard: int = 100_000
    probed_shards: int = 6
    sample_per_shard: int = 512
    in_memory_below: int = 2_000_000
    # The engine decides where a job runs, not what it computes.
    engine: str = field(default="local", metadata=NOT_IDENTITY)
    gpus_per_job: float = field(default=0.0, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.engine", self.engine, ENGINES)
        check_positive(
            rows_per_shard=self.rows_per_shard,
            probed_shards=self.probed_shards,
            sample_per_shard=self.sample_per_shard,
            in_memory_below=self.in_memory_below,
        )
        for key, value, expected in (
            ("order", self.order, "hashed"),
            ("metric", self.metric, "mean"),
            ("center", self.center, False),
            ("dtype", self.dtype, "float32"),
            ("rungs", list(self.rungs), []),
        ):
            if value != expected:
                raise ConfigError(
                    f"curator.{key}={value} is not supported by curator=tome_sharded: leave it at {expected}."
                )

    @property
    def sample_every(self) -> int:
        """Every how many rows of the corpus one belongs to the sample of the cells."""
        return max(1, self.rows_per_shard // self.sample_per_shard)

    def probes(self, videos: int, tokens: int) -> int:
        """Cells that a source is compared with in a round of so many tokens of a corpus of so many videos.

        The fewer tokens remain, the less alike are the pairs that merge, and the more of them lie in distant cells. A
        round costs its tokens times its probes: as much as the first one.
        """
        return math.ceil(self.probed_shards * videos / tokens)

    @property
    def most_in_memory(self) -> int | None:
        """The number of tokens from which on the run continues in memory."""
        return self.in_memory_below
