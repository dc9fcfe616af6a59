"""How often the interval of a decision accuracy contains the true one, for choices drawn at random.

python benchmarks/statistics/decisions.py

Every choice has a measured value at the small and at the large rung of a ladder, of correlation r over choices: the
true effects, and the noise of both measurements. The true share of equal picks is 1/2 + asin(r) / pi for normal values
and is simulated for others. Seven choices are 21 pairs.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.report.ladder.decisions import share_interval
from sg.report.numbers.statistics import wilson_interval

Floats = NDArray[np.float64]
SHAPES = ("normal", "heavy tails", "two groups")


def draw(shape: str, r: float, size: tuple[int, ...], generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Values of the small and of the large rung [*size] with correlation r."""
    noise = generator.standard_normal((2, *size))
    effect = {
        "normal": lambda: generator.standard_normal(size),
        "heavy tails": lambda: generator.standard_t(3, size) / np.sqrt(3),
        "two groups": lambda: generator.choice([-1.0, 1.0], size),
    }[shape]()
    return np.sqrt(r) * effect + np.sqrt(1 - r) * noise[0], np.sqrt(r) * effect + np.sqrt(1 - r) * noise[1]


def shares(small: Floats, large: Floats) -> Floats:
    """The share of pairs of choices that are ordered alike, of values [studies, choices]."""
    pairs = list(combinations(range(small.shape[1]), 2))
    return np.mean([(small[:, i] > small[:, j]) == (large[:, i] > large[:, j]) for i, j in pairs], axis=0)


def table(studies: int) -> Iterator[str]:
    yield f"Coverage of the 95 % interval in %, {studies:,} ladders; in brackets: Wilson, pairs as if independent"
    yield "choices  pairs  effects      r     true share  mean share  coverage      half width"
    for choices in (3, 5, 7, 10):
        for shape in SHAPES if choices == 7 else SHAPES[:1]:
            for r in (0.0, 0.5, 0.8, 0.95):
                generator = np.random.default_rng([choices, SHAPES.index(shape), int(100 * r)])
                true = float(shares(*draw(shape, r, (500_000, 2), generator)).mean())
                found = shares(*draw(shape, r, (studies, choices), generator))
                pairs = choices * (choices - 1) // 2
                ours = {share: share_interval(share, choices) for share in set(found.tolist())}
                naive = {share: wilson_interval(round(share * pairs), pairs) for share in ours}
                covered = np.mean([ours[share][0] <= true <= ours[share][1] for share in found.tolist()])
                independent = np.mean([naive[share].low <= true <= naive[share].high for share in found.tolist()])
                half = np.mean([(ours[share][1] - ours[share][0]) / 2 for share in found.tolist()])
                yield (
                    f"{choices:<9}{pairs:<7}{shape:<13}{r:<6g}{100 * true:<12.1f}{100 * found.mean():<12.1f}"
                    f"{f'{100 * covered:.1f} ({100 * independent:.1f})':<14}{100 * half:.0f} points"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=5000)
    for line in table(parser.parse_args().studies):
        print(line, flush=True)
