"""The smallest difference that 80 % of simulated studies find, beside the number of the plan and of `sg.report power`.

python benchmarks/statistics/power.py --studies 300
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hydra import compose, initialize_config_dir

from benchmarks.statistics.studies import Design, draw
from sg.core.commands import typed
from sg.core.layout import CONFIG_FOLDER
from sg.report.numbers.estimates import difference, seed_noise
from sg.report.numbers.power import POWER, VIDEO_MME, Assumptions, assumed_noise, resolution
from sg.study.config import TrainConfig
from sg.study.planning.power import SEEDS, plan_power

CASES = (*((arms, seeds, 0.0) for arms in (7, 2) for seeds in SEEDS), (7, 3, 1.0), (7, 5, 1.0))
"""Arms, seeds, arm-by-seed standard deviation in points."""


def planned_resolution() -> dict[int, float]:
    """By number of seeds, what the plan of `experiment=scaling_webvid`, seven arms on Video-MME, prints."""
    arms = [*((scale, "none") for scale in ("0", "50k", "100k", "200k", "400k", "530k")), ("50k", "equal_steps")]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        configs = [
            typed(
                compose("train", ["experiment=scaling_webvid", f"data.scale={scale}", f"data.control={control}"]),
                TrainConfig,
            )
            for scale, control in arms
        ]
    plan = plan_power(configs, None)
    assert plan is not None and plan["arms"] == len(arms)
    return {row["seeds"]: row["points"]["caption effect"] for row in plan["rows"]}


def simulated_resolution(arms: int, seeds: int, seed_sd: float, studies: int) -> float:
    """The smallest difference whose interval is above 0 in `POWER` of the studies, in points."""
    generator = np.random.default_rng([arms, seeds, round(10 * seed_sd)])
    short = []
    for _ in range(studies):
        first, *others = draw(Design((tuple(range(seeds)),) * arms, seed_sd), generator)
        noise = seed_noise([first, *others])
        for other in others:
            found = difference(first, other, noise)
            assert found is not None
            # The true difference is 0, and adding one moves the interval: it is found if it exceeds this.
            short.append(-found.low)
    return float(np.quantile(short, POWER))


def table(studies: int) -> Iterator[str]:
    yield f"Smallest difference found in 80 % of studies, in points; {studies:,} studies, of two arms six times as many"
    yield "arms  seeds  arm-by-seed SD  calculated  simulated"
    planned = planned_resolution()
    for arms, seeds, seed_sd in CASES:
        calculated = resolution(assumed_noise([VIDEO_MME], Assumptions(seed_sd=seed_sd)), seeds, arms)
        if (arms, seed_sd) == (7, 0.0):
            assert calculated == planned[seeds]
        simulated = simulated_resolution(arms, seeds, seed_sd, studies if arms == 7 else 6 * studies)
        yield f"{arms:<6}{seeds:<7}{seed_sd:<16g}{calculated:<12.2f}{simulated:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    for line in table(parser.parse_args().studies):
        print(line, flush=True)
