"""How often the 95 % interval of a difference contains the true difference, in studies drawn at random.

    python benchmarks/statistics/coverage.py --studies 2000

The table in `benchmarks/statistics/README.md` is the output of this command. A cell counts as obtainable if the data
determine the variance that the interval needs: with one seed, only where training has no arm-by-seed noise.
"""

import argparse
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.statistics.studies import Design, draw
from sg.report.numbers.estimates import difference, seed_noise

SEEDS = (1, 3, 5, 10)
SEED_SDS = (0.0, 1.0, 2.0)
ARMS = (2, 7)
SPARE = 2
"""Unequal seeds: the first arm has this many seeds that no other arm has."""


@dataclass(frozen=True)
class Cell:
    """One cell of the table: its design, and the number of seeds that the compared arms share."""

    arms: int
    seeds: int
    is_equal: bool
    seed_sd: float | tuple[float, ...]

    @property
    def design(self) -> Design:
        """The studies of this cell."""
        shared = tuple(range(self.seeds))
        first = shared if self.is_equal else tuple(range(self.seeds + SPARE))
        return Design((first, *[shared] * (self.arms - 1)), self.seed_sd)

    @property
    def can_be_obtained(self) -> bool:
        """Whether the data determine the variance of the difference."""
        return self.seeds > 1 or self.seed_sd == 0


def coverage(cell: Cell, studies: int) -> float:
    """The share of the intervals of the first arm minus another that contain the true difference."""
    generator = np.random.default_rng(zlib.crc32(repr(cell).encode()))
    hits = []
    for _ in range(studies):
        first, *others = draw(cell.design, generator)
        noise = seed_noise([first, *others])
        for other in others:
            found = difference(first, other, noise)
            assert found is not None
            hits.append(found.low <= cell.design.gain <= found.high)
    return float(np.mean(hits))


def cells() -> Iterator[Cell]:
    for arms in ARMS:
        for is_equal in (True, False):
            for seeds in SEEDS:
                yield from (Cell(arms, seeds, is_equal, sd) for sd in SEED_SDS)


def table(studies: int) -> Iterator[str]:
    yield f"Coverage of the 95 % interval in %: {studies:,} studies per cell of two arms,"
    yield f"{studies // 5:,} of seven arms with six differences each"
    yield "arms  seeds           arm-by-seed SD 0      SD 1 point      SD 2 points"
    rows: dict[tuple[int, bool, int], list[str]] = {}
    for cell in cells():
        row = rows.setdefault((cell.arms, cell.is_equal, cell.seeds), [])
        shown = f"{100 * coverage(cell, studies if cell.arms == 2 else studies // 5):.1f}"
        row.append(shown if cell.can_be_obtained else f"({shown}) not covered")
        if len(row) == len(SEED_SDS):
            seeds = f"{cell.seeds} and {cell.seeds}" if cell.is_equal else f"{cell.seeds + SPARE} and {cell.seeds}"
            yield f"{cell.arms:<6}{seeds:<16}{row[0]:<22}{row[1]:<20}{row[2]}"
    for seeds in SEEDS[1:]:
        uneven = Cell(7, seeds, True, (2.0, *[0.0] * 6))
        shown = 100 * coverage(uneven, studies // 5)
        yield f"7     {seeds} and {seeds}, SD 2 in the first arm only, 0 in the six others: {shown:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    for line in table(parser.parse_args().studies):
        print(line, flush=True)
