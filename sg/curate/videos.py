"""The videos that a curator works on: ids, unit vectors and caption lengths, in one canonical order."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sg.artefacts.vectors import Vectors
from sg.core.errors import ConfigError, DataError
from sg.curate.order import video_keys

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Videos:
    """Input of a curator: N videos with vectors of length d. Ties anywhere go to the lower row.

    Attributes:
        ids: video ids; sorted by `keys`, except in `reference` order (that of the vectors).
        keys: [N] uint64 hash of each id.
        unit: [N, d] float32 or float64 vectors of length 1.
        family: [N] lowest row whose stored vector is bitwise the same.
        caption_length: [N] characters of each caption, 0 if there is none.
    """

    ids: list[str]
    keys: NDArray[np.uint64]
    unit: NDArray[np.floating]
    family: NDArray[np.int64]
    caption_length: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def load_videos(
    vectors: Vectors,
    captions: Mapping[str, str] | None,
    *,
    seed: int,
    order: str = "hashed",
    dtype: str = "float32",
    center: bool = False,
) -> Videos:
    """Bring stored vectors into canonical order and to unit length; the given matrix is not changed.

    Args:
        vectors: the stored vectors.
        captions: texts by video id, if there are any.
        seed: keys the hash of ids.
        order: `hashed` and `shuffled` sort by the hash of the id, `reference` keeps the order of the vectors.
        dtype: `float32` or `float64`.
        center: subtract the mean vector first.

    Raises:
        ConfigError: two ids have the same hash, or `center` leaves a video without a direction.
    """
    keys = video_keys(vectors.video_ids, seed)
    rows = np.arange(len(keys)) if order == "reference" else np.argsort(keys)
    stored = vectors.matrix[rows]
    ids = [vectors.video_ids[row] for row in rows.tolist()]
    family = exact_families(stored)
    unit = unit_rows(stored.astype(dtype, copy=False), in_place=True)
    if center:
        unit = _centred(unit, ids)
    lengths = [len(captions.get(video_id, "")) if captions is not None else 0 for video_id in ids]
    return Videos(ids, keys[rows], unit, family, np.array(lengths, dtype=np.int64))


def unit_rows(matrix: NDArray[np.floating], in_place: bool = False) -> NDArray[np.floating]:
    """[n, d] rows scaled to length 1, with norms in float64; a zero row stays zero."""
    result = matrix if in_place else matrix.copy()
    for start in range(0, len(result), _ROWS_AT_ONCE):
        block = result[start : start + _ROWS_AT_ONCE]
        norms = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        block /= np.where(norms > 0, norms, 1.0)[:, None].astype(block.dtype)
    return result


def exact_families(stored: NDArray[np.floating]) -> NDArray[np.int64]:
    """[N] the lowest row with bitwise the same vector: the row itself if the vector appears once."""
    first: dict[bytes, int] = {}
    hashes = (hashlib.blake2b(row.data, digest_size=16).digest() for row in np.ascontiguousarray(stored))
    return np.array([first.setdefault(digest, row) for row, digest in enumerate(hashes)], dtype=np.int64)


def choose_ids(
    available: Sequence[str], wanted: Sequence[str] | None, missing: Literal["error", "skip"]
) -> tuple[list[str], dict[str, str]]:
    """The ids to curate, in the order of the vectors, and the ids that are left out with the reason.

    Args:
        available: ids of all vectors.
        wanted: ids of the usable videos; None takes all that have a vector.
        missing: what to do when a wanted video has no vector: stop, or leave it out.

    Raises:
        DataError: a wanted video has no vector and `missing` is "error".
    """
    if wanted is None:
        return list(available), {}
    keep, known = set(wanted), set(available)
    lacking = [video_id for video_id in wanted if video_id not in known]
    if lacking and missing == "error":
        raise DataError(
            f"{len(lacking)} videos of the manifest have no vector ({', '.join(map(repr, lacking[:3]))}): run "
            "`python -m sg.embed` again, or leave them out with missing=skip."
        )
    excluded = dict.fromkeys(lacking, "no vector")
    excluded |= {video_id: "not usable in the manifest" for video_id in available if video_id not in keep}
    return [video_id for video_id in available if video_id in keep], excluded


def select_vectors(vectors: Vectors, video_ids: Collection[str]) -> Vectors:
    """The vectors of the given videos, in the order of `vectors`."""
    keep = set(video_ids)
    rows = [row for row, video_id in enumerate(vectors.video_ids) if video_id in keep]
    if len(rows) == len(vectors.video_ids):
        return vectors
    return Vectors([vectors.video_ids[row] for row in rows], vectors.matrix[rows], vectors.info)


def _centred(unit: NDArray[np.floating], ids: Sequence[str]) -> NDArray[np.floating]:
    """Rows minus their mean, scaled to length 1 again."""
    unit -= unit.mean(axis=0, dtype=np.float64).astype(unit.dtype)
    lengths = np.sqrt(np.einsum("nd,nd->n", unit, unit, dtype=np.float64))
    if (lengths < 1e-6).any():
        name = ids[int(np.argmin(lengths))]
        raise ConfigError(f"curator.center=true leaves no direction for video {name!r}: all vectors are nearly equal.")
    return unit_rows(unit, in_place=True)
