"""What a study can resolve, before it is run: the smallest difference that four of five such studies find.

A difference between two arms has three sources of error. `Noise` holds their variances, in squared points:

- persistent: what the arms answer differently in every training run; more questions reduce it, more seeds do not;
- items: what one training run answers differently by chance; questions and seeds reduce it;
- seeds: how much a whole run is better or worse than its arm; only seeds reduce it.

They are assumed from how often models disagree (`Assumptions`), or measured in a study (`measured_noise`). The power is
that of the report's own interval (`sg.report.numbers.estimates`), averaged over the seed noise that a study happens to
find; `benchmarks/statistics/power.py` compares it with simulated studies.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sg.core.errors import ConfigError
from sg.report.numbers.estimates import ArmScore, Floats, SeedNoise, half_widths, interval_candidates, item_noise

POWER = 0.8
"""Share of studies that find a difference of the size that is called resolved: four of five."""

STEPS = 100
"""Number of quantiles of the seed noise that a power is averaged over."""


MAX_SEEDS = 20
"""The search for a design stops at this number of seeds."""

SEEDS_OF_ADVICE = 5
"""If no design resolves a difference, the report says how many questions would, with this number of seeds."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """How often two models disagree, if no study has measured it (`docs/reference/video_mme.md`, section 6).

    Attributes:
        disagreement: share of the questions of which exactly one of two arms with the same seed is right. One
            measurement, of a 2B model and its fine-tuned successor.
        seed_disagreement: the same for two seeds of one arm; never more than `disagreement`. Not measured: chosen,
            together with `correlation`, so that 1, 3, 5 and 10 seeds resolve 2.7, 1.8, 1.6 and 1.4 points on Video-MME.
        correlation: of the differences of two questions about one video; see `seed_disagreement`.
        seed_sd: standard deviation in points of one run's accuracy, beyond what the choice of questions explains.
    """

    disagreement: float = 0.22
    seed_disagreement: float = 0.18
    correlation: float = 0.05
    seed_sd: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.seed_disagreement <= self.disagreement <= 1:
            raise ConfigError(
                f"seed_disagreement={self.seed_disagreement} should be above 0 and at most disagreement="
                f"{self.disagreement}, which should be at most 1: two seeds of one arm disagree no more than two arms."
            )
        if not 0 <= self.correlation <= 1 or self.seed_sd < 0:
            raise ConfigError(
                f"correlation={self.correlation} should be between 0 and 1, seed_sd={self.seed_sd} 0 points or more."
            )


@dataclass(frozen=True, slots=True)
class BenchmarkSize:
    """A benchmark's name, and the numbers of its questions and videos."""

    name: str
    questions: int
    videos: int


VIDEO_MME = BenchmarkSize("video_mme", 2700, 900)
LONG_VIDEO_BENCH = BenchmarkSize("longvideobench", 1337, 753)
SIZES = {
    size.name: size
    for size in (
        VIDEO_MME,
        LONG_VIDEO_BENCH,
        BenchmarkSize("video_mme_v2", 3200, 800),
        BenchmarkSize("lvbench", 1549, 103),
    )
}
"""The benchmarks whose size is known without their files (`docs/reference/benchmarks.md`)."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Variances of a difference between two arms, in squared points; `videos` is the number of clusters."""

    persistent: float
    items: float
    seeds: float
    videos: int


Noises = Mapping[str, Noise]
"""By contrast, the noise of its difference."""


def assumed_noise(benchmarks: Sequence[BenchmarkSize], assumptions: Assumptions) -> Noise:
    """Return the noise of a difference over all questions of the benchmarks together."""
    questions = sum(size.questions for size in benchmarks)
    # Questions about one video count less than independent ones, by the design effect.
    weights = [
        size.questions * (1 + (size.questions / size.videos - 1) * assumptions.correlation) for size in benchmarks
    ]
    unit = 100**2 * sum(weights) / questions**2
    return Noise(
        persistent=unit * (assumptions.disagreement - assumptions.seed_disagreement),
        items=unit * assumptions.seed_disagreement,
        seeds=2 * assumptions.seed_sd**2,
        videos=sum(size.videos for size in benchmarks),
    )


def measured_noise(arm: ArmScore, other: ArmScore, noise: SeedNoise) -> Noise:
    """Return the noise that a study with two or more seeds has measured for `arm` minus `other`.

    `noise` is that of all arms of the study. A negative estimate counts as 0.
    """
    both, single = item_noise(arm, other)
    unit = arm.unit**2
    return Noise(
        persistent=unit * max(both - single / len(arm.seeds), 0.0),
        items=unit * single,
        seeds=unit * 2 * max(noise.excess, 0.0),
        videos=len(np.unique(arm.videos)),
    )


def split_noise(arm: ArmScore, other: ArmScore, assumptions: Assumptions) -> Noise:
    """Return the noise of `arm` minus `other` from one seed: its measured variance, split as assumed."""
    both, _ = item_noise(arm, other)
    unit = arm.unit**2 * both
    share = assumptions.seed_disagreement / assumptions.disagreement
    seeds = 2 * assumptions.seed_sd**2
    return Noise(unit * (1 - share), unit * share, seeds, len(np.unique(arm.videos)))


def _half_widths(noise: Noise, seeds: int, arms: int) -> Floats | None:
    """Half widths of the report's interval over the seed noise that studies find, at equally likely quantiles."""
    from scipy.stats import chi2

    by_videos = noise.persistent + noise.items / seeds, float(noise.videos - 1)
    df = (arms - 1) * (seeds - 1)
    if df == 0:
        return None if noise.seeds > 0 else half_widths([[by_videos]])
    # Variance of one run's score that is its own, and the part of it that the choice of questions explains.
    explained = noise.items / 2
    draws = (explained + noise.seeds / 2) * chi2.ppf((np.arange(STEPS) + 0.5) / STEPS, df) / df
    return half_widths(
        [
            interval_candidates(*by_videos, SeedNoise(float(draw), float(draw) - explained, df), 2 / seeds)
            for draw in draws
        ]
    )


def power_of(points: float, noise: Noise, seeds: int, arms: int) -> float | None:
    """Return the share of studies that find a true difference of `points`; None if the design has no valid interval.

    Args:
        seeds: training seeds of every arm.
        arms: arms of the study, which determine the seed noise together.
    """
    halves = _half_widths(noise, seeds, arms)
    return None if halves is None else _found(points, noise, seeds, halves)


def _found(points: float, noise: Noise, seeds: int, halves: Floats) -> float:
    from scipy.special import ndtr

    error = np.sqrt(noise.persistent + (noise.items + noise.seeds) / seeds)
    return float(ndtr((points - halves) / error).mean())


def resolution(noise: Noise, seeds: int, arms: int) -> float | None:
    """Return the smallest true difference in points that `POWER` of such studies find, two-sided 5 %.

    None for one seed per arm where training has seed noise: no interval of such a study covers it.
    """
    from scipy.optimize import brentq

    halves = _half_widths(noise, seeds, arms)
    if halves is None:
        return None
    error = float(np.sqrt(noise.persistent + (noise.items + noise.seeds) / seeds))
    highest = float(halves.max()) + 10 * error
    return float(brentq(lambda points: _found(points, noise, seeds, halves) - POWER, 0.0, highest, xtol=1e-4))


@dataclass(frozen=True, slots=True)
class PowerRow:
    """What one design resolves: by contrast, the smallest difference found, or None if it has no valid interval."""

    benchmarks: tuple[str, ...]
    seeds: int
    points: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class ArmsPrice:
    """What one seed of some arms costs: their number, and hours on one device (None if unknown)."""

    arms: int
    hours: float | None = None


@dataclass(frozen=True, slots=True)
class CheapestDesign:
    """The cheapest design that resolves a wanted difference in a contrast."""

    benchmarks: tuple[str, ...]
    seeds: int
    arms: int
    points: float
    hours: float | None

    @property
    def runs(self) -> int:
        """Number of runs."""
        return self.arms * self.seeds


def power_rows(noises: Mapping[tuple[str, ...], Noises], seeds: Sequence[int], arms: int) -> list[PowerRow]:
    """Return one row per set of benchmarks and number of seeds, for a study of `arms` arms."""
    return [
        PowerRow(benchmarks, count, {name: resolution(noise, count, arms) for name, noise in contrasts.items()})
        for benchmarks, contrasts in noises.items()
        for count in seeds
    ]


def cheapest_design(
    noises: Mapping[tuple[str, ...], Noise], wanted_points: float, prices: Sequence[ArmsPrice]
) -> CheapestDesign | None:
    """Return the design with the fewest hours (runs, if hours are unknown) that resolves `wanted_points`, or None.

    Args:
        noises: noise of the contrast by set of benchmarks.
        prices: the sets of arms to choose from; more arms determine the seed noise better.
    """
    found = []
    for benchmarks, noise in noises.items():
        for price in prices:
            seeds, points = _fewest_seeds(noise, wanted_points, price.arms)
            if seeds is not None and points is not None:
                hours = None if price.hours is None else seeds * price.hours
                found.append(CheapestDesign(benchmarks, seeds, price.arms, points, hours))
    return min(found, key=lambda design: (design.hours or 0.0, design.runs, len(design.benchmarks)), default=None)


def _fewest_seeds(noise: Noise, wanted_points: float, arms: int) -> tuple[int | None, float | None]:
    for seeds in range(1, MAX_SEEDS + 1):
        # No design does better than a test that knows the noise; the exact resolution takes longer.
        if 2.8 * math.sqrt(noise.persistent + (noise.items + noise.seeds) / seeds) > wanted_points:
            continue
        points = resolution(noise, seeds, arms)
        if points is not None and points <= wanted_points:
            return seeds, points
    return None, None


def questions_needed(noise: Noise, questions: int, seeds: int, arms: int, wanted_points: float) -> int | None:
    """Return about how many questions of the same kind resolve `wanted_points` with `seeds` seeds; None if none do."""
    few, many = 1.0, 1000.0

    def is_resolved(factor: float) -> bool:
        more = replace(noise, persistent=noise.persistent / factor, items=noise.items / factor)
        points = resolution(more, seeds, arms)
        return points is not None and points <= wanted_points

    if not is_resolved(many):
        return None
    while many / few > 1.01:
        middle = math.sqrt(few * many)
        few, many = (few, middle) if is_resolved(middle) else (middle, many)
    return 100 * math.ceil(questions * many / 100)
