"""Candidates from faiss: an inverted file over the targets, searched row by row (extra `faiss`).

On a CPU our own `cells` (one product per cell) is faster. This matcher exists for comparison, and for the
indexes of faiss.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sg.core.errors import ConfigError
from sg.curate.matching.exact import Candidates

_TRAINING_ROWS_PER_LIST = 64


class FaissMatcher:
    """Finds the two best rows of `b` [m, d] in the `probed` nearest of m / `rows_per_list` inverted lists.

    Raises:
        ConfigError: faiss is not installed.
    """

    def __init__(self, b: Tensor, rows_per_list: int, probed: int, rows: int = 16_384) -> None:
        faiss = import_faiss()
        faiss.omp_set_num_threads(torch.get_num_threads())
        self.rows_at_once = rows
        targets = _float32(b)
        lists = max(1, len(targets) // rows_per_list)
        dim = targets.shape[1]
        self._quantizer = faiss.IndexFlatIP(dim)
        self._index = faiss.IndexIVFFlat(self._quantizer, dim, lists, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.min_points_per_centroid = 1
        self._index.cp.max_points_per_centroid = _TRAINING_ROWS_PER_LIST
        self._index.train(targets)
        self._index.add(targets)
        self._index.nprobe = min(probed, lists)

    def find(self, block: Tensor) -> Candidates:
        """The best row of each row of `block` that faiss finds, and its lead over the second best."""
        scores, rows = self._index.search(_float32(block), 2)
        lead = np.where(rows[:, 1] < 0, np.float32(np.inf), scores[:, 0] - scores[:, 1])
        # A row without a candidate gets lead 0, so that float64 products with all targets decide.
        return Candidates(np.maximum(rows[:, 0], 0), np.where(rows[:, 0] < 0, np.float32(0), lead))


def import_faiss() -> Any:
    """The faiss module; ConfigError if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "curator.matcher=faiss needs faiss: `pip install -e '.[faiss]'`, or use curator.matcher=cells."
        ) from error
    return faiss


def _float32(rows: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ascontiguousarray(rows.cpu().numpy(), dtype=np.float32)
