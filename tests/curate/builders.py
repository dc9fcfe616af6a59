"""Small inputs for the tests of curation."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sg.artefacts.vectors import Vectors, write_vectors_info, write_vectors_part
from sg.curate.registry import CURATORS
from sg.curate.videos import load_videos


def clumpy_matrix(count: int, dim: int = 16, topics: int = 9, seed: int = 0) -> np.ndarray:
    """[count, dim] rows around some topics, exact in float16; a tenth of them are copies of the row before."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(topics, dim))[rng.integers(topics, size=count)] + 0.5 * rng.normal(size=(count, dim))
    copies = np.flatnonzero(rng.random(count) < 0.1)
    matrix[copies[copies > 0]] = matrix[copies[copies > 0] - 1]
    return matrix.astype(np.float16).astype(np.float32)


def clumpy_vectors(count: int, dim: int = 16, topics: int = 9, seed: int = 0) -> Vectors:
    ids = [f"video-{number:05d}" for number in range(count)]
    return Vectors(ids, clumpy_matrix(count, dim, topics, seed), {})


def clumpy_videos(count: int, captions: dict[str, str] | None = None, dim: int = 16, seed: int = 0, **options):
    return load_videos(clumpy_vectors(count, dim, seed=seed), captions, seed=0, **options)


def write_vectors(folder: Path, vectors: Vectors, rows_per_part: int = 100) -> Path:
    for index, start in enumerate(range(0, len(vectors.video_ids), rows_per_part)):
        part = slice(start, start + rows_per_part)
        write_vectors_part(folder, index, vectors.video_ids[part], vectors.matrix[part])
    write_vectors_info(folder, {"dim": vectors.dim})
    return folder


def curated_forest(config, videos, captions=()):
    """The merge forest of videos in memory by the curator of `config`."""
    inputs = SimpleNamespace(captions=captions, store=None, read_videos=lambda seed, **_: videos)
    return CURATORS.of(config)(inputs, config).forest
