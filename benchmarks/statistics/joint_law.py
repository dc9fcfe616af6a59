"""How well a ladder determines its joint law: coverage and width of the intervals, by number of sizes and captions.

python benchmarks/statistics/joint_law.py

Losses of 150 held-out captions are drawn around L = 1 + 0.25 (N0 / N)^0.5 + 0.2 (D0 / D)^0.5, three seeds per run, with
the noise of the demo world: captions differ in difficulty (SD 0.6 nats per token, alike for all runs), a run in each
caption (0.1) and as a whole (0.01 of its own, 0.01 shared by the seeds of all runs).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.report.ladder.law import EXPONENTS, PARAMETERS, JointLaw, fit_law, joint_errors, predicted
from sg.report.numbers.estimates import ArmScore, Floats, seed_noise
from sg.report.numbers.held_out import loss_score

DEMO = (77_000, 250_000, 523_000)
DECADES = (1e8, 1e9, 1e10)
SCALES = (500.0, 1000.0, 2000.0, 4000.0, 5300.0)
DESIGNS = {
    "2 sizes x 5": (DEMO[::2], SCALES),
    "3 sizes x 2": (DEMO, SCALES[::4]),
    "3 sizes x 3": (DEMO, SCALES[::2]),
    "3 sizes x 5": (DEMO, SCALES),
    "3 decades x 5": (DECADES, SCALES),
    "4 sizes x 5": ((77_000, 150_000, 250_000, 523_000), SCALES),
    "5 decades x 5": ((1e7, *DECADES, 1e11), SCALES),
}
TRUTH = np.array([1.0, 0.25, 0.2, 0.5, 0.5])
VIDEOS, SEEDS = 150, (0, 1, 2)


def study(points: Floats, generator: np.random.Generator) -> JointLaw:
    """Draw the losses of one ladder at `points` [2, n], and fit the law as the report does."""
    centre = np.exp(np.log(points).mean(axis=1))
    tokens = generator.integers(8, 40, VIDEOS)
    difficulty, of_seed = generator.normal(0, 0.6, VIDEOS), generator.normal(0, 0.01, len(SEEDS))
    arms: list[ArmScore] = []
    for level in predicted(points[0] / centre[0], points[1] / centre[1], TRUTH):
        own = generator.normal(0, 0.1, (len(SEEDS), VIDEOS)) + generator.normal(0, 0.01, (len(SEEDS), 1))
        nats = tokens * (level + difficulty + own + of_seed[:, None])
        arms.append(loss_score(nats, np.tile(tokens, (len(SEEDS), 1)), np.arange(VIDEOS), SEEDS))
    # The noise of seeds is estimated for each model by itself, as in the report.
    noises = {size: seed_noise([arms[at] for at in np.flatnonzero(points[0] == size)]) for size in set(points[0])}
    errors, df = joint_errors(arms, [noises[size] for size in points[0]])
    return fit_law(points[0].tolist(), points[1].tolist(), [arm.value for arm in arms], errors, df)


def table(studies: int) -> Iterator[str]:
    yield f"{studies:,} ladders per design: coverage in % and median half width of the 95 % intervals"
    yield "design         " + "".join(f"{name:<16}" for name in PARAMETERS) + "law rejected  exponent not determined"
    for name, (sizes, captions) in DESIGNS.items():
        generator = np.random.default_rng(list(name.encode()))
        points = np.array([(n, d) for n in sizes for d in captions], dtype=np.float64).T
        laws = [study(points, generator) for _ in range(studies)]
        cells = []
        for parameter, true in zip(PARAMETERS, TRUTH, strict=True):
            ends = np.array([(law.parameters[parameter].low, law.parameters[parameter].high) for law in laws])
            covered = np.mean((ends[:, 0] <= true) & (true <= ends[:, 1]))
            cells.append(f"{100 * covered:.0f} ±{np.median(np.diff(ends)) / 2:.2f}")
        rejected = np.mean([law.p is not None and law.p < 0.05 for law in laws])
        free = np.mean([bool(law.free) for law in laws])
        yield f"{name:<15}" + "".join(f"{cell:<16}" for cell in cells) + f"{100 * rejected:<14.0f}{100 * free:.0f}"
    yield f"exponents are fitted between {EXPONENTS[0]} and {EXPONENTS[1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    for line in table(parser.parse_args().studies):
        print(line, flush=True)
