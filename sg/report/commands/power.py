"""`python -m sg.report power`: what a study would resolve, from assumed or from measured disagreement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.commands import command, register
from sg.core.errors import ConfigError, DataError
from sg.core.output import TEXT, check_format, show

if TYPE_CHECKING:
    from sg.report.numbers.power import Assumptions, BenchmarkSize, Noise, Noises
    from sg.report.numbers.study import Study

SETTING = "without_subtitles"
POWER_SCHEMA = 1
"""Version of the JSON that `format=json` prints."""


@dataclass
class PowerConfig:
    """Settings of a calculation of power.

    Attributes:
        study: a folder of runs whose answers say how often models disagree; null: the assumptions below.
        setting: the setting of the study that is measured.
        benchmarks: names of known benchmarks, or NAME:QUESTIONS/VIDEOS. They are added one by one. Not with `study`.
        seeds: numbers of training seeds per arm.
        arms: number of arms of the study; they determine the noise of training seeds together. Null: those of `study`,
            or seven (no captions, five scales, one control).
        disagreement, seed_disagreement, correlation, seed_sd: see `sg.report.numbers.power.Assumptions`.
        wanted_points: find the cheapest design that resolves a difference of this many points; null: none.
        hours_per_run, usd_per_hour: cost of a run, for the cheapest design; null: designs are compared by their runs.
    """

    study: str | None = None
    setting: str = SETTING
    benchmarks: list[str] = field(default_factory=lambda: ["video_mme"])
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 5, 10])
    arms: int | None = None
    disagreement: float = 0.22
    seed_disagreement: float = 0.18
    correlation: float = 0.05
    seed_sd: float = 0.0
    wanted_points: float | None = None
    hours_per_run: float | None = None
    usd_per_hour: float | None = None
    format: str = TEXT

    def __post_init__(self) -> None:
        check_format(self.format)
        if not self.seeds or min(self.seeds) < 1:
            raise ConfigError(f"seeds={self.seeds} should be a list of numbers of 1 or more.")
        if self.arms is not None and self.arms < 2:
            raise ConfigError(f"arms={self.arms} should be 2 or more: a difference needs two.")
        for name in ("wanted_points", "hours_per_run", "usd_per_hour"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name}={value} should be above 0, or null.")
        if self.usd_per_hour is not None and (self.hours_per_run is None or self.wanted_points is None):
            raise ConfigError("usd_per_hour prices the cheapest design: add wanted_points=N hours_per_run=N.")
        if self.hours_per_run is not None and self.wanted_points is None:
            raise ConfigError("hours_per_run is for the cheapest design: add wanted_points=POINTS.")
        if self.study is None and self.setting != SETTING:
            raise ConfigError(f"setting={self.setting} is for the answers of a study: add study=FOLDER.")


register(None, "power_schema", PowerConfig)


def power(config: PowerConfig) -> None:
    """Print what designs resolve."""
    record = power_record(config)

    def text() -> str:
        from sg.report.pages.power import power_text

        return power_text(record)

    show("power", POWER_SCHEMA, record, text, config.format)


def power_record(config: PowerConfig) -> dict[str, Any]:
    """Return the table and the cheapest designs as plain data.

    Raises:
        ConfigError: an assumption or a benchmark is impossible.
        MissingInputError, DataError: the study does not exist, or lacks the arms of every contrast.
    """
    from sg.artefacts.arms import CONTRASTS
    from sg.report.numbers.power import ArmsPrice, Assumptions, assumed_noise, power_rows
    from sg.report.numbers.study import read_study

    assumptions = Assumptions(config.disagreement, config.seed_disagreement, config.correlation, config.seed_sd)
    noises: dict[tuple[str, ...], Noises] = {}
    if config.study is not None:
        study = read_study(Path(config.study).expanduser().resolve())
        measured, basis = measured_noises(study, config.setting, assumptions)
        noises[(study.benchmark,)] = measured
        arms, questions = config.arms or len([*study.finished, *study.controls]), len(study.questions.ids)
    else:
        sizes = [benchmark_size(name) for name in config.benchmarks]
        for count in range(1, len(sizes) + 1):
            noise = assumed_noise(sizes[:count], assumptions)
            noises[tuple(size.name for size in sizes[:count])] = dict.fromkeys(CONTRASTS, noise)
        arms, questions, basis = config.arms or 7, sum(size.questions for size in sizes), assumed_text(assumptions)
    hours = config.hours_per_run
    prices = [ArmsPrice(number, None if hours is None else number * hours) for number in sorted({2, arms})]
    rows = [asdict(row) for row in power_rows(noises, config.seeds, arms)]
    wanted = wanted_designs(noises, config.wanted_points, prices, questions, config.usd_per_hour)
    return {"arms": arms, "basis": basis, "rows": rows, "wanted": wanted}


def benchmark_size(text: str) -> BenchmarkSize:
    """Return the size of a known benchmark, or the one of `NAME:QUESTIONS/VIDEOS`; ConfigError for anything else."""
    from sg.report.numbers.power import SIZES, BenchmarkSize

    if text in SIZES:
        return SIZES[text]
    found = re.fullmatch(r"([^:]+):(\d+)/(\d+)", text)
    if found is None or not 1 < int(found[3]) <= int(found[2]):
        raise ConfigError(
            f"benchmarks={text} should be {', '.join(SIZES)} or NAME:QUESTIONS/VIDEOS, such as mine:1500/500."
        )
    return BenchmarkSize(found[1], int(found[2]), int(found[3]))


def assumed_text(assumptions: Assumptions) -> str:
    """Return the assumptions in one line."""
    from sg.report.numbers.power import Assumptions

    default = Assumptions()
    is_chosen = (assumptions.seed_disagreement, assumptions.correlation) == (
        default.seed_disagreement, default.correlation,
    )  # fmt: skip
    origin = (
        " (18 % and 0.05 are not measured: they were chosen so that 1, 3, 5 and 10 seeds resolve 2.7, 1.8, 1.6 and 1.4 "
        "points on Video-MME)"
        if is_chosen
        else ""
    )
    return (
        f"assumed: two arms disagree on {100 * assumptions.disagreement:.3g} % of the questions, two seeds of one arm "
        f"on {100 * assumptions.seed_disagreement:.3g} %, correlation within a video {assumptions.correlation:g}, "
        f"seeds add {assumptions.seed_sd:g} points{origin}; after two seeds, python -m sg.report power study=FOLDER "
        "measures it"
    )


def measured_noises(study: Study, setting: str, assumptions: Assumptions) -> tuple[Noises, str]:
    """Return the noise of every contrast that the study has both arms of, and how it was obtained, in words.

    With one shared seed, the part of a single run is assumed to be as large as in `assumptions`.
    """
    from sg.report.numbers.power import measured_noise, split_noise
    from sg.report.numbers.study import contrast_arms

    scores = study.scores(setting, study.questions.mask("overall"))
    noises: dict[str, Noise] = {}
    seeds = []
    for contrast, (first, second) in contrast_arms(study).items():
        arm, other = scores.by_name.get(first.name), scores.by_name.get(second.name)
        shared = [seed for seed in arm.seeds if seed in other.seeds] if arm and other else []
        if arm is None or other is None or not shared:
            continue
        arm, other = arm.over(shared), other.over(shared)
        seeds.append(len(shared))
        if len(shared) > 1 and scores.noise is not None:
            noises[contrast] = measured_noise(arm, other, scores.noise)
        else:
            noises[contrast] = split_noise(arm, other, assumptions)
    if not noises:
        raise DataError(f"{study.folder} has no two arms with a common seed {setting}: finish them first.")
    if min(seeds) > 1:
        return noises, f"measured in {study.name} ({setting}), with {min(seeds)} seeds"
    return noises, (
        f"measured in {study.name} ({setting}) with one seed: the share of single runs "
        f"({assumptions.seed_disagreement / assumptions.disagreement:.0%}) and of seeds ({assumptions.seed_sd:g} "
        "points) is assumed until there are two"
    )


def wanted_designs(
    noises: dict[tuple[str, ...], Noises],
    wanted_points: float | None,
    prices: Sequence[Any],
    questions: int,
    usd_per_hour: float | None,
) -> list[dict[str, Any]]:
    """Return for every contrast the cheapest design that resolves `wanted_points`, as plain data."""
    from sg.report.numbers.power import SEEDS_OF_ADVICE, cheapest_design, questions_needed

    if wanted_points is None:
        return []
    designs = []
    largest = max(noises, key=len)
    for contrast, noise in noises[largest].items():
        design = cheapest_design({key: value[contrast] for key, value in noises.items()}, wanted_points, prices)
        found: dict[str, Any] = {"contrast": contrast, "wanted_points": wanted_points}
        if design is None:
            needed = questions_needed(noise, questions, SEEDS_OF_ADVICE, prices[-1].arms, wanted_points)
            designs.append(found | {"benchmarks": largest, "seeds": None, "questions": needed})
            continue
        usd = None if usd_per_hour is None or design.hours is None else design.hours * usd_per_hour
        designs.append(found | asdict(design) | {"runs": design.runs, "usd": usd})
    return designs


main = command("power", PowerConfig)(power)
