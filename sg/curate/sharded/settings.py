"""Settings of ToMe over shards, and their checks."""

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
        probed_shards: cells that a source is compared with: its own and the next nearest ones, so that pairs across
            borders are found. If it is the number of cells, every round is exact.
        in_memory_below: the run continues in memory as soon as at most this many tokens remain.
        engine: `local` works on one shard after another; `ray` distributes them over a Ray cluster (the one at
            RAY_ADDRESS, or a new one on this machine), whose nodes must see the folder of the result and the vectors
            under the same paths.
        gpus_per_job: GPUs that Ray reserves for each job.
    """

    name: str = field(default="tome_sharded", metadata=NOT_IDENTITY)
    rows_per_shard: int = 100_000
    probed_shards: int = 2
    in_memory_below: int = 2_000_000
    # The engine decides where a job runs, not what it computes.
    engine: str = field(default="local", metadata=NOT_IDENTITY)
    gpus_per_job: float = field(default=0.0, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("curator.engine", self.engine, ENGINES)
        check_positive(
            rows_per_shard=self.rows_per_shard, probed_shards=self.probed_shards, in_memory_below=self.in_memory_below
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
    def most_in_memory(self) -> int | None:
        """The number of tokens from which on the run continues in memory."""
        return self.in_memory_below
