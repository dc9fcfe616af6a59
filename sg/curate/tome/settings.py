"""Settings of ToMe curation, and their checks."""

from dataclasses import dataclass, field

from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice
from sg.curate.checks import check_positive, check_rungs, check_share
from sg.curate.settings import CuratorConfig

ORDERS = ("hashed", "reference", "shuffled")
SURVIVORS = ("medoid", "longest_caption", "dst")
METRICS = ("mean", "survivor")
MATCHERS = ("exact", "projected", "cells", "faiss")
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("float32", "float64")


def forest_of_matcher(matcher: str) -> str:
    """The matcher by which a forest is named: `projected` finds the same merges as `exact`."""
    return "exact" if matcher == "projected" else matcher


@dataclass
class TomeConfig(CuratorConfig):
    """The merge forest by ToMe.

    Attributes:
        name: folder of the result.
        seed: keys the hash of ids that splits the tokens.
        order: how a round splits the tokens. `hashed`: by a hash of the id; `reference`: by position in the order of
            the vectors, as the original ToMe does; `shuffled`: as `reference`, after one shuffle by seed.
        max_merge_fraction: share of all tokens that a round may remove. A round removes at most the tokens of its
            source side, about half of all.
        rungs: if given, rounds end on these sizes (in the unit of `rungs_of`) and the run ends on the last.
        rungs_of: size of the corpus that `rungs` are meant for; other corpora take the same proportions.
        rounds_per_rung: rounds between two rungs.
        n_min: the run ends at this many tokens.
        survivor: which video represents a cluster: `medoid` (nearest to the mean, then longer caption),
            `longest_caption` (the reverse), `dst` (that of the target side, as in ToMe).
        metric: the vector that represents a cluster in a match: the `mean` of its videos, or the vector of its
            `survivor` (with `survivor`, large clusters in dense regions grow less).
        center: subtract the mean vector first.
        max_cluster_size: merges that would exceed it are skipped.
        min_similarity: a round stops at the first merge below it, and the run when a round adds nothing.
        collapse_exact: group bitwise equal vectors before the first round (hashed order only).
        matcher: `exact`; `projected` (the same result, about four times faster on CPUs); `cells` (nearly the same
            result, much faster); `faiss` (candidates of the same kind as `cells`, from an inverted file of faiss).
        block_rows: rows compared at a time.
        block_columns: columns compared at a time.
        rows_per_cell: for `cells` and `faiss`: target rows per cell.
        probed_cells: for `cells` and `faiss`: nearest cells that a row is compared with.
        exact_below: for `cells` and `faiss`: rounds of fewer tokens are matched exactly.
        verify_sample: for `cells` and `faiss`: merges per round that are compared with the exact match.
        projected_dims: for `projected`: most principal components of the bound; a sample decides how many.
        dtype: type of the working vectors and their products.
        device: `auto` takes a GPU if there is one.
        checkpoint_every_s: a killed run loses at most about this many seconds.
    """

    name: str = field(default="tome", metadata=NOT_IDENTITY)
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
    matcher: str = field(default="exact", metadata={"identity": forest_of_matcher})
    # Near ties are decided in float64, so the result does not depend on block sizes, the device or the bound.
    block_rows: int = field(default=4096, metadata=NOT_IDENTITY)
    block_columns: int = field(default=16384, metadata=NOT_IDENTITY)
    rows_per_cell: int = 250
    probed_cells: int = 64
    exact_below: int = 150_000
    verify_sample: int = 4096
    projected_dims: int = field(default=64, metadata=NOT_IDENTITY)
    dtype: str = "float32"
    device: str = field(default="auto", metadata=NOT_IDENTITY)
    checkpoint_every_s: float = field(default=30.0, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value, choices in (
            ("order", self.order, ORDERS),
            ("survivor", self.survivor, SURVIVORS),
            ("metric", self.metric, METRICS),
            ("matcher", self.matcher, MATCHERS),
            ("dtype", self.dtype, DTYPES),
            ("device", self.device, DEVICES),
        ):
            check_choice(f"curator.{key}", value, choices)
        self._check_ranges()
        if self.order != "hashed" and self.collapse_exact:
            raise ConfigError(
                f"curator.order={self.order} splits by position, and curator.collapse_exact=true would shift the "
                "positions: set curator.collapse_exact=false."
            )
        if self.order != "hashed" and self.matcher not in ("exact", "projected"):
            raise ConfigError(
                f"curator.order={self.order} needs the score of every row, which curator.matcher={self.matcher} does "
                "not compute: use exact or projected."
            )

    @property
    def uses_captions(self) -> bool:
        """True unless the target side always survives."""
        return self.survivor != "dst"

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
