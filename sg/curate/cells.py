"""Candidates from cells: each source row is compared with the target rows of its nearest k-means cells only.

The rows that probe a cell are gathered and compared in one product a cell: scores are those of the exact matcher, only
the set of candidates is partial.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.curate.clustering import grouped_rows, nearest_centres, nearest_several, spherical_kmeans
from sg.curate.matching import Candidates, candidates_of, row_top2

TRAINING_ROWS = 65_536
TRAINING_STEPS = 8


class Cells:
    """Centres for a run, trained on its videos; trained again (fewer of them) when the targets have halved.

    They depend on the videos and on the number of targets only, so a run that is taken up finds the same ones.
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
    """Compares source rows with the rows of `b` [m, d] in their `probed` nearest cells."""

    def __init__(self, b: Tensor, centres: NDArray[np.floating], probed: int, rows: int = 65_536) -> None:
        self.rows_at_once = rows
        self._probed = probed
        self._centres = torch.from_numpy(centres).to(b.device)
        cell, _ = nearest_centres(b.cpu().numpy(), centres, b.device)
        order, borders = grouped_rows(cell, len(centres))
        self._borders = borders.tolist()
        self._row = torch.from_numpy(order).to(b.device)
        self._sorted = b[self._row]

    def find(self, block: Tensor) -> Candidates:
        """The best row of each row of `block` among its candidates, and its lead over the second best of them."""
        best = torch.full((len(block),), -torch.inf, dtype=block.dtype, device=block.device)
        second, target = best.clone(), torch.zeros(len(block), dtype=torch.int64, device=block.device)
        for cell, rows in self._probes(block):
            begin, end = self._borders[cell], self._borders[cell + 1]
            if begin == end or not len(rows):
                continue
            top, column, runner_up = row_top2(block[rows] @ self._sorted[begin:end].T)
            before = best[rows]
            target[rows] = torch.where(top > before, self._row[begin + column], target[rows])
            second[rows] = torch.maximum(torch.maximum(second[rows], runner_up), torch.minimum(before, top))
            best[rows] = torch.maximum(before, top)
        return candidates_of(target, best, second)

    def _probes(self, block: Tensor) -> list[tuple[int, Tensor]]:
        """Each probed cell with the rows of `block` that probe it."""
        probes = nearest_several(block, self._centres, self._probed)
        flat = probes.flatten()
        order = torch.argsort(flat, stable=True)
        rows = torch.div(order, probes.shape[1], rounding_mode="floor")
        counts = torch.bincount(flat, minlength=len(self._centres))
        return list(enumerate(torch.tensor_split(rows, counts.cumsum(0)[:-1].cpu())))
