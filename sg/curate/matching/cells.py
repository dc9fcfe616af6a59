"""Candidates from cells: each source row is compared with the target rows of its nearest k-means cells only.

All rows that probe a cell are compared with it in one product. The scores are those of the exact matcher; only the set
of candidates is partial.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.curate.clustering import grouped_rows, nearest_centres, nearest_several, spherical_kmeans
from sg.curate.matching.bounds import Found, with_rest
from sg.curate.matching.exact import Candidates, candidates_of, row_top2
from sg.curate.threads import in_stripes

TRAINING_ROWS = 65_536
TRAINING_STEPS = 8
_ROWS_AT_ONCE = 65_536
_STRIPE_ROWS = 16_384


class Cells:
    """Cell centres for a run, trained on its videos; retrained with fewer centres when the targets have halved.

    They depend only on the videos and the number of targets, so a resumed run computes the same centres.
    """

    def __init__(self, unit: NDArray[np.floating], rows_per_cell: int, seed: int) -> None:
        self._unit, self._rows_per_cell, self._seed = unit, rows_per_cell, seed
        self._centres = np.empty((0, unit.shape[1]), unit.dtype)

    def centres(self, targets: int) -> NDArray[np.floating]:
        """[K, d] unit centres for that many target rows; K is a power of two."""
        count = 2 ** max(0, round(np.log2(max(1, targets / self._rows_per_cell))))
        if len(self._centres) != min(count, len(self._unit)):
            self._centres = spherical_kmeans(
                self._unit, count, seed=self._seed % 2**32, steps=TRAINING_STEPS, sample=TRAINING_ROWS
            )
        return self._centres


class CellMatcher:
    """Compares source rows with the rows of `b` [m, d] in their `probed` nearest cells, in one product per cell.

    With the `basis` [d, p] of a bound (float32 on the CPU only), a shorter product first excludes nearly all pairs; the
    result is the same.
    """

    def __init__(self, b: Tensor, centres: NDArray[np.floating], probed: int, basis: Tensor | None = None) -> None:
        self.rows_at_once = _ROWS_AT_ONCE
        self._probed, self._basis = probed, basis
        self._centres = torch.from_numpy(centres).to(b.device)
        cell, _ = nearest_centres(b.cpu().numpy(), centres, b.device)
        order, borders = grouped_rows(cell, len(centres))
        self._borders = borders.tolist()
        self._row = torch.from_numpy(order).to(b.device)
        self._sorted = b[self._row]
        self._bounds = None if basis is None else with_rest(self._sorted, basis)

    def find(self, block: Tensor) -> Candidates:
        """The best row of each row of `block` among its candidates, and its lead over the second best of them."""
        probes = nearest_several(block, self._centres, self._probed)
        if self._basis is None or self._bounds is None:
            return self._find_by_products(block, probes)
        return self._find_by_bounds(block, probes, self._basis, self._bounds)

    def _find_by_products(self, block: Tensor, probes: Tensor) -> Candidates:
        best = torch.full((len(block),), -torch.inf, dtype=block.dtype, device=block.device)
        second, target = best.clone(), torch.zeros(len(block), dtype=torch.int64, device=block.device)
        for cell, rows in self._visits(probes):
            top, column, runner_up = row_top2(block[rows] @ self._sorted[cell].T)
            before = best[rows]
            target[rows] = torch.where(top > before, self._row[cell.start + column], target[rows])
            second[rows] = torch.maximum(torch.maximum(second[rows], runner_up), torch.minimum(before, top))
            best[rows] = torch.maximum(before, top)
        return candidates_of(target, best, second)

    def _find_by_bounds(self, block: Tensor, probes: Tensor, basis: Tensor, bounds_of_b: Tensor) -> Candidates:
        found, bounds_of_block = Found.nothing(len(block)), with_rest(block, basis)

        def search(stripe: slice) -> None:
            # The nearest cell comes first and alone: its scores exclude nearly all pairs of the other cells.
            for ranks in (slice(0, 1), slice(1, None)):
                for cell, rows in self._visits(probes[stripe, ranks]):
                    rows += stripe.start
                    bounds = bounds_of_block[rows] @ bounds_of_b[cell].T
                    found.compare(bounds, block, rows.numpy(), self._sorted[cell], cell.start)

        in_stripes(search, len(block), _STRIPE_ROWS)
        was_compared = found.best > -2
        found.target[was_compared] = self._row.numpy()[found.target[was_compared]]
        return found.candidates()

    def _visits(self, probes: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """For each nonempty cell in `probes` [n, P]: its slice of the sorted targets, and the rows that probe it."""
        # One sort of all probes by cell yields the rows of every cell, in rising order.
        flat = probes.flatten()
        order = torch.argsort(flat, stable=True)
        rows = torch.div(order, max(1, probes.shape[1]), rounding_mode="floor")
        counts = torch.bincount(flat, minlength=len(self._centres))
        for cell, visitors in enumerate(torch.tensor_split(rows, counts.cumsum(0)[:-1].cpu())):
            begin, end = self._borders[cell], self._borders[cell + 1]
            if begin < end and len(visitors):
                yield slice(begin, end), visitors
