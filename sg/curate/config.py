"""Settings of ToMe curation and of the command, and their checks."""

from dataclasses import dataclass, field
from typing import Any

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.paths import PathsConfig
from sg.core.scales import parse_scale
from sg.curate.baselines import config as baselines  # noqa: F401 - puts the schemas of the others into the store
from sg.curate.checks import check_choice, check_positive, check_rungs, check_seed, check_share

ORDERS = ("hashed", "reference", "shuffled")
SURVIVORS = ("medoid", "longest_caption", "dst")
METRICS = ("mean", "survivor")
MATCHERS = ("exact", "projected", "cells", "faiss")
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("float32", "float64")
ENGINES = ("local", "ray")


@dataclass
class TomeConfig:
    """The merge forest by ToMe.

    Attributes:
        name: folder of the result.
        seed: keys the hash of ids that splits the tokens.
        order: `hashed` splits by a hash of the id; `reference` by position in the vectors' order, as the original does;
            `shuffled` is `reference` after one shuffle by seed.
        max_merge_fraction: share of all tokens that a round removes, at most 0.5 takes effect.
        rungs: when given, rounds end on these sizes (in the unit of `rungs_of`) and the run ends on the last.
        rungs_of: size of the corpus that `rungs` are meant for; other corpora take the same proportions.
        rounds_per_rung: rounds between two rungs.
        n_min: the run ends at this many tokens.
        survivor: who stands for a cluster: `medoid` (nearest to the mean, then longer caption), `longest_caption`
            (the reverse), `dst` (the target side, as in ToMe).
        metric: match the clusters' `mean` vectors, or those of their `survivor`.
        center: subtract the mean vector first.
        max_cluster_size: merges that would exceed it are passed over.
        min_similarity: a round stops at the first merge below it, and the run when a round adds nothing.
        collapse_exact: group bitwise equal vectors before the first round (hashed order only).
        matcher: `exact`; `projected` (the same bits, about four times faster on CPUs); `cells` (nearly the same, much
            faster); `faiss` (the same kind of candidates as `cells`, from an inverted file of that library).
        block_rows: rows compared at a time.
        block_columns: columns compared at a time.
        rows_per_cell: for `cells` and `faiss`: rows on the target side that share a cell.
        probed_cells: for `cells` and `faiss`: nearest cells that a row is compared with.
        exact_below: for `cells` and `faiss`: rounds of fewer tokens are matched exactly.
        verify_sample: for `cells` and `faiss`: merges of each round that are checked against the exact match.
        projected_dims: for `projected`: principal components of the bound.
        dtype: storage and products of the working vectors.
        device: `auto` takes a GPU when there is one.
        checkpoint_every_s: a killed run loses at most about this many seconds.
    """

    name: str = "tome"
    seed: int = 0
    order: str = "hashed"
    max_merge_fraction: float = 0.25
    rungs: list[float] = field(default_factory=list)
    rungs_of: float = 530.0
    rounds_per_rung: int = 1
    n_min: int = 1
    survivor: str = "medoid"
    metric: str = "mean"
    center: bool = False
    max_cluster_size: int | None = None
    min_similarity: float | None = None
    collapse_exact: bool = True
    matcher: str = "exact"
    block_rows: int = 4096
    block_columns: int = 16384
    rows_per_cell: int = 250
    probed_cells: int = 64
    exact_below: int = 150_000
    verify_sample: int = 4096
    projected_dims: int = 64
    dtype: str = "float32"
    device: str = "auto"
    checkpoint_every_s: float = 30.0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for key, value, choices in (
            ("order", self.order, ORDERS),
            ("survivor", self.survivor, SURVIVORS),
            ("metric", self.metric, METRICS),
            ("matcher", self.matcher, MATCHERS),
            ("dtype", self.dtype, DTYPES),
            ("device", self.device, DEVICES),
        ):
            check_choice(key, value, choices)
        self._check_ranges()
        if self.order != "hashed" and self.collapse_exact:
            raise ConfigError(
                f"curator.order={self.order} counts positions, which curator.collapse_exact=true would shift: set the "
                "latter to false."
            )
        if self.order != "hashed" and self.matcher not in ("exact", "projected"):
            raise ConfigError(
                f"curator.order={self.order} needs the score of every row, which curator.matcher={self.matcher} does "
                "not compute: use exact or projected."
            )

    def _check_ranges(self) -> None:
        check_share("max_merge_fraction", self.max_merge_fraction)
        check_rungs(self.rungs, self.rungs_of)
        check_positive(
            n_min=self.n_min,
            rounds_per_rung=self.rounds_per_rung,
            block_rows=self.block_rows,
            block_columns=self.block_columns,
            rows_per_cell=self.rows_per_cell,
            probed_cells=self.probed_cells,
            verify_sample=self.verify_sample,
            projected_dims=self.projected_dims,
        )
        if self.max_cluster_size is not None and self.max_cluster_size < 2:
            raise ConfigError(f"curator.max_cluster_size={self.max_cluster_size} should be at least 2, or null.")
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            raise ConfigError(f"curator.min_similarity={self.min_similarity} is a cosine: between -1 and 1, or null.")


@dataclass
class ShardedTomeConfig(TomeConfig):
    """ToMe for more vectors than one machine holds; the last `in_memory_below` tokens are merged as `tome` does it.

    Attributes:
        rows_per_shard: tokens that share a k-means cell, hence a file and a job.
        probed_shards: cells that a source is compared with: its own and the next nearest ones, so that pairs across
            borders are found. As many as there are cells make every round exact.
        in_memory_below: the run goes on in memory when so few tokens are left.
        engine: `local` works shard after shard; `ray` hands them to a Ray cluster (RAY_ADDRESS, or this machine), whose
            nodes must see the result's folder and the vectors under the same paths.
        gpus_per_job: GPUs that Ray keeps for each job.
    """

    name: str = "tome_sharded"
    rows_per_shard: int = 100_000
    probed_shards: int = 2
    in_memory_below: int = 2_000_000
    engine: str = "local"
    gpus_per_job: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("engine", self.engine, ENGINES)
        check_positive(
            rows_per_shard=self.rows_per_shard,
            probed_shards=self.probed_shards,
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
                raise ConfigError(f"curator.{key}={value} is not there for shards: leave it at {expected}.")


CuratorConfig = Any
"""`TomeConfig` or one of `sg.curate.baselines.config`; Hydra needs a plain `Any` for a group whose options differ."""


@dataclass
class CurateConfig:
    """The settings of `python -m sg.curate`.

    Attributes:
        data: the source.
        curator: the method.
        embedder: name of the vectors to read; null takes the only ones that there are.
        captioner: name of the captions whose lengths break ties; null takes the only ones that there are, or none.
        missing: what to do about a usable video without a vector: `error`, or `skip` it.
        scales: core sizes to describe in `statistics.json`, as in `data.scale`; too large ones are left out.
        export: core sizes to write as lists.
        benchmark_vectors: folder with vectors of a benchmark's videos, to look for them in the cores.
        extend: core size at which videos that are new since the last run are added to the merge forest.
        forget: ids of videos to take out of the merge forest.
        paths: folders of this machine.
    """

    data: Any = None
    curator: Any = None
    embedder: str | None = None
    captioner: str | None = None
    missing: str = "error"
    scales: list[str] = field(default_factory=list)
    export: list[str] = field(default_factory=list)
    benchmark_vectors: str | None = None
    extend: str | None = None
    forget: list[str] = field(default_factory=list)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        if self.missing not in ("error", "skip"):
            raise ConfigError(f"missing={self.missing!r} should be error or skip.")
        if self.extend and self.forget:
            raise ConfigError("extend and forget change the merge forest in different ways: run one after the other.")
        for scale in (*self.scales, *self.export, *([self.extend] if self.extend else [])):
            parse_scale(scale)


register(None, "curate_schema", CurateConfig)
register("curator", "tome_schema", TomeConfig)
register("curator", "tome_sharded_schema", ShardedTomeConfig)
