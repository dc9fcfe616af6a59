"""Exact matches with few full products: applies the bound of `sg.curate.matching.bounds` to all pairs."""

import numpy as np
import torch
from torch import Tensor

from sg.curate.matching.bounds import Found, with_rest
from sg.curate.matching.exact import Candidates
from sg.curate.threads import in_stripes

_STRIPE_ROWS, _TILE_ROWS, _TILE_COLUMNS = 2048, 256, 1024


class ProjectedMatcher:
    """Finds what `ExactMatcher` finds among `b` [m, d] (float32, on the CPU); `basis` [d, p] is orthonormal."""

    def __init__(self, b: Tensor, basis: Tensor) -> None:
        self.rows_at_once = _STRIPE_ROWS * torch.get_num_threads() * 4
        self._b, self._basis = b, basis
        self._bounds_of_b = with_rest(b, basis)

    def find(self, block: Tensor) -> Candidates:
        """The best row of each row of `block` and its lead over the second best."""
        found, bounds_of_block = Found.nothing(len(block)), with_rest(block, self._basis)
        in_stripes(lambda stripe: self._search(block, bounds_of_block, stripe, found), len(block), _STRIPE_ROWS)
        return found.candidates()

    def _search(self, block: Tensor, bounds_of_block: Tensor, stripe: slice, found: Found) -> None:
        """Fill `found` for a stripe of rows.

        The outer loop is over targets, so that a slice of them stays in the cache while the whole stripe is compared
        with it.
        """
        buffer = torch.empty(_TILE_ROWS * _TILE_COLUMNS)
        rows = np.arange(*stripe.indices(len(block)))
        for start in range(0, len(self._b), _TILE_COLUMNS):
            columns = self._b[start : start + _TILE_COLUMNS]
            bounds_of_columns = self._bounds_of_b[start : start + _TILE_COLUMNS].T
            for first in range(0, len(rows), _TILE_ROWS):
                tile = rows[first : first + _TILE_ROWS]
                bounds = buffer[: len(tile) * len(columns)].view(len(tile), len(columns))
                torch.mm(bounds_of_block[tile[0] : tile[-1] + 1], bounds_of_columns, out=bounds)
                found.compare(bounds, block, tile, columns, start)
