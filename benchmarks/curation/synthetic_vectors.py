"""Vectors like those of a large video corpus: Zipf topics, 20 % near-duplicates, 0.5 % exact ones, with ground truth.

    python benchmarks/curation/synthetic_vectors.py --count 530000 --out work/synthetic-530k

A row is the sum of a common direction, the direction of its topic (from a 20-dimensional space), and its own noise.
Cosines of random pairs are about 0.17 +- 0.16; quartiles of nearest neighbours are 0.86, 0.95, 0.98 (26,500 rows).
Rows are made in blocks with one seed each, so memory stays small and a row does not depend on the number of later rows.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sg.artefacts.vectors import write_vectors_info, write_vectors_part

BLOCK = 10_000
COMMON, TOPIC, OWN = 0.17, 0.66, 0.17
TOPIC_SPACE, NOISE_DECAY = 20, 0.4
NEAR_DUPLICATES, EXACT_DUPLICATES = 0.20, 0.005
ROWS_PER_TOPIC = 3.5


@dataclass(frozen=True)
class Block:
    """Rows of one block: `matrix` float32 [n, d]; `topic` and `family` (lowest row of its near-duplicates) [n]."""

    matrix: np.ndarray
    topic: np.ndarray
    family: np.ndarray


def make_block(index: int, count: int, dim: int, total: int, seed: int) -> Block:
    """Block number `index` of a set of `total` rows; duplicates copy rows of their own block."""
    world = np.random.default_rng([seed, dim])
    space = np.linalg.qr(world.standard_normal((dim, dim)))[0].T.astype(np.float32)
    spectrum = np.arange(1, dim - TOPIC_SPACE) ** -NOISE_DECAY
    rng = np.random.default_rng([seed, dim, index])
    topics = max(1, int(total / ROWS_PER_TOPIC))
    topic = zipf_ranks(rng.random(count), topics)
    matrix = np.sqrt(COMMON) * space[0] + np.sqrt(TOPIC) * topic_directions(topic, seed) @ space[1 : 1 + TOPIC_SPACE]
    matrix += np.sqrt(OWN) * unit(rng.standard_normal((count, len(spectrum))) * spectrum) @ space[1 + TOPIC_SPACE :]
    matrix = matrix.astype(np.float32)
    family = np.arange(count)
    duplicate = np.flatnonzero(rng.random(count) < NEAR_DUPLICATES + EXACT_DUPLICATES)
    duplicate = duplicate[duplicate > 0]
    family[duplicate] = (rng.random(len(duplicate)) * duplicate).astype(int)
    for row in duplicate.tolist():  # in rising order, so that a copy of a copy finds the family's first row
        family[row] = family[family[row]]
    exact = rng.random(len(duplicate)) < EXACT_DUPLICATES / (NEAR_DUPLICATES + EXACT_DUPLICATES)
    noise = unit(rng.standard_normal((len(duplicate), dim))) * rng.uniform(0.10, 0.35, (len(duplicate), 1))
    matrix[duplicate] = matrix[family[duplicate]] + np.where(exact[:, None], 0, noise).astype(np.float32)
    return Block(matrix, topic[family], family + index * BLOCK)


def zipf_ranks(uniform: np.ndarray, count: int) -> np.ndarray:
    """Ranks 0..count-1 with probability ~ 1 / (rank + 3), from uniform numbers."""
    weights = np.cumsum(1 / (np.arange(count) + 3.0))
    return np.searchsorted(weights / weights[-1], uniform)


def topic_directions(topic: np.ndarray, seed: int) -> np.ndarray:
    """[n, TOPIC_SPACE] the direction of the topic of each row."""
    distinct, row = np.unique(topic, return_inverse=True)
    directions = [np.random.default_rng([seed, 7, int(rank)]).standard_normal(TOPIC_SPACE) for rank in distinct]
    return unit(np.array(directions))[row]


def unit(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def write_synthetic(folder: Path, count: int, dim: int = 768, seed: int = 0) -> None:
    """Write vectors and `truth.npz` (`topic`, `family`; rows in the order of the parts) to `folder`."""
    topics, families = [], []
    for index, start in enumerate(range(0, count, BLOCK)):
        block = make_block(index, min(BLOCK, count - start), dim, count, seed)
        ids = [f"synthetic-{row:07d}" for row in range(start, start + len(block.matrix))]
        write_vectors_part(folder, index, ids, block.matrix)
        topics.append(block.topic)
        families.append(block.family)
    np.savez(folder / "truth.npz", topic=np.concatenate(topics), family=np.concatenate(families))
    write_vectors_info(folder, {"model": "synthetic", "dim": dim, "seed": seed, "rows": count})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=26_500)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_synthetic(options.out, options.count, options.dim, options.seed)
    print(f"{options.count} x {options.dim} vectors in {options.out}")


if __name__ == "__main__":
    main()
