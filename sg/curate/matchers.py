"""The matcher that the config asks for, round after round."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sg.core.errors import ConfigError
from sg.curate.config import TomeConfig
from sg.curate.matching import BlockStore, ExactMatcher, Matcher, Matches, match
from sg.curate.rounds import Rows

_ROWS_AT_ONCE = 16_384


class Matchers:
    """Matches the two sides of each round of one run."""

    def __init__(self, config: TomeConfig) -> None:
        self._config = config
        self.device = choose_device(config.device)

    def match(
        self,
        vectors: NDArray[np.floating],
        sources: Rows,
        targets: Rows,
        advance: Callable[[int], None] | None = None,
        store: BlockStore | None = None,
    ) -> Matches:
        """The best of `targets` for each of `sources`, both rows of `vectors` [n, d] of any length."""
        a, b = unit_tensor(vectors, sources), unit_tensor(vectors, targets).to(self.device)
        matcher: Matcher = ExactMatcher(b, self._config.block_rows, self._config.block_columns)
        return match(a, b, matcher, advance, store)


def unit_tensor(vectors: NDArray[np.floating], rows: Rows) -> Tensor:
    """[len(rows), d] those rows of `vectors`, scaled to length 1; a zero row stays zero."""
    source, index = torch.from_numpy(vectors), torch.from_numpy(rows)
    result = torch.empty((len(rows), vectors.shape[1]), dtype=source.dtype)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = source[index[start : start + _ROWS_AT_ONCE]]
        lengths = torch.linalg.vector_norm(block, dim=1, keepdim=True, dtype=torch.float64)
        result[start : start + len(block)] = block / torch.where(lengths > 0, lengths, 1.0).to(block.dtype)
    return result


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU when there is one.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError(
            "curator.device=cuda, but torch finds no GPU on this machine: take curator.device=auto or cpu."
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")
