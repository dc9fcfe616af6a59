"""The matcher that the config names, for one round after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.core.errors import ConfigError
from sg.curate.matching.exact import BlockStore, CandidateFinder, ExactMatcher, Matches, match
from sg.curate.threads import in_stripes
from sg.curate.tome.rounds import Edges, Rows
from sg.curate.tome.settings import TomeConfig

if TYPE_CHECKING:
    from sg.curate.matching.cells import Cells

_WORTH_A_BASIS, _WORTH_A_BOUND = 10_000_000, 1_000_000
"""Pairs in a round from which on the bound of `projected` saves time: with a basis still to be found, and with one."""


class Matchers:
    """Matches the two sides of each round of one run.

    Args:
        config: settings of ToMe.
        unit: [N, d] vectors on which cells and bounds are trained.
        basis: [d, p] principal directions of the bound, if they are known already.
    """

    def __init__(self, config: TomeConfig, unit: NDArray[np.floating], basis: Tensor | None = None) -> None:
        self._config, self._unit, self._basis = config, unit, basis
        self.device = choose_device(config.device)
        self._cells: Cells | None = None

    def match(
        self,
        vectors: NDArray[np.floating],
        sources: Rows,
        targets: Rows,
        advance: Callable[[int], None] | None = None,
        store: BlockStore | None = None,
    ) -> Matches:
        """The best of `targets` for each of `sources`; both are rows of `vectors` [n, d] of any length."""
        a, b = unit_tensor(vectors, sources), unit_tensor(vectors, targets).to(self.device)
        return match(a, b, self._matcher(len(a), b), advance, store)

    @property
    def could_be_bounded(self) -> bool:
        """True when `projected` would find the same result faster than the chosen matcher."""
        config = self._config
        return (config.matcher, config.dtype) == ("exact", "float32") and self.device.type == "cpu"

    def is_partial(self, sources: int, targets: int) -> bool:
        """True when a round of that size is matched by candidates that may miss the best one."""
        return self._config.matcher in ("cells", "faiss") and sources + targets >= self._config.exact_below

    def agreement(self, vectors: NDArray[np.floating], edges: Edges, targets: Rows) -> float:
        """Share of `verify_sample` evenly spaced edges whose target is the exact match of their source."""
        step = max(1, len(edges) // max(1, self._config.verify_sample))
        a, b = unit_tensor(vectors, edges.source[::step]), unit_tensor(vectors, targets).to(self.device)
        found = match(a, b, self._complete(len(a), b))
        return float((targets[found.target] == edges.target[::step]).mean())

    def _matcher(self, sources: int, b: Tensor) -> CandidateFinder:
        if self.is_partial(sources, len(b)):
            if self._config.matcher == "faiss":
                from sg.curate.matching.faiss_candidates import FaissMatcher

                return FaissMatcher(b, self._config.rows_per_cell, self._config.probed_cells)
            from sg.curate.matching.cells import CellMatcher, Cells

            if self._cells is None:
                self._cells = Cells(self._unit, self._config.rows_per_cell, self._config.seed)
            return CellMatcher(b, self._cells.centres(len(b)), self._config.probed_cells, self._bound(b))
        return self._complete(sources, b)

    def _complete(self, sources: int, b: Tensor) -> CandidateFinder:
        """A matcher that compares every source with every target."""
        worth = _WORTH_A_BASIS if self._basis is None else _WORTH_A_BOUND
        basis = self._bound(b) if sources * len(b) >= worth else None
        if basis is None:
            return ExactMatcher(b, self._config.block_rows, self._config.block_columns)
        from sg.curate.matching.projected import ProjectedMatcher

        return ProjectedMatcher(b, basis)

    def _bound(self, b: Tensor) -> Tensor | None:
        """The basis of a bound; None if plain products are requested, or faster (on a GPU, in float64)."""
        if self._config.matcher == "exact" or b.device.type != "cpu" or b.dtype != torch.float32:
            return None
        if self._basis is None:
            from sg.curate.matching.bounds import cheapest_basis

            self._basis = cheapest_basis(self._unit, self._config.projected_dims)
        return self._basis


def unit_tensor(vectors: NDArray[np.floating], rows: Rows) -> Tensor:
    """[len(rows), d] those rows of `vectors`, scaled to length 1; a zero row stays zero."""
    source, index = torch.from_numpy(vectors), torch.from_numpy(rows)
    result = torch.empty((len(rows), vectors.shape[1]), dtype=source.dtype)

    def scale(part: slice) -> None:
        block = source[index[part]]
        lengths = torch.linalg.vector_norm(block, dim=1, keepdim=True, dtype=torch.float64)
        torch.div(block, torch.where(lengths > 0, lengths, 1.0).to(block.dtype), out=result[part])

    in_stripes(scale, len(rows))
    return result


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one.

    Raises:
        ConfigError: the name asks for a GPU and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError(
            "curator.device=cuda, but torch finds no GPU on this machine: use curator.device=auto or cpu."
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")
