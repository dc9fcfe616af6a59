"""What a planned sweep can resolve, in its plan: by number of seeds, with the price of another seed."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sg.artefacts.arms import EQUAL_STEPS, HEADLINE
from sg.core.errors import SgError
from sg.core.scales import parse_scale
from sg.study.config import TrainConfig, study_name

if TYPE_CHECKING:
    from sg.models.sizes import ModelSize
    from sg.report.numbers.power import BenchmarkSize, Noises

SEEDS = (1, 2, 3, 5, 10)


def plan_power(configs: Sequence[TrainConfig], size: ModelSize | None) -> dict[str, Any] | None:
    """Return what the sweep of `configs` resolves on each benchmark, as plain data; None if there is nothing to tell.

    That is if it compares nothing, or no benchmark has a known size. The reports of several benchmarks are each about
    one, so their questions are not added up.

    Args:
        size: of the first model, for hours; None if they are not estimated.
    """
    from sg.report.commands.power import assumed_text, wanted_designs
    from sg.report.numbers.power import ArmsPrice, Assumptions, assumed_noise, power_rows, resolution

    first = configs[0]
    studies = list(dict.fromkeys(study_name(run) for run in configs))
    # A contrast is between arms of one study. The studies of a sweep differ in their model or in a choice of data.
    configs = [run for run in configs if study_name(run) == studies[0]]
    arms = {(str(run.data.scale), run.data.control): run for run in configs}
    sizes = [found for one in first.per_benchmark() if (found := _benchmark_size(one)) is not None]
    unknown = sorted({str(one.name) for one in first.benchmarks} - {size.name for size in sizes})
    contrasts = _contrasts(arms)
    if not sizes or not contrasts:
        return None
    planned = len({run.seed for run in configs})
    noise_on = {size.name: assumed_noise([size], Assumptions()) for size in sizes}
    noises: dict[tuple[str, ...], Noises] = {(name,): dict.fromkeys(contrasts, own) for name, own in noise_on.items()}
    best = min(sizes, key=lambda size: resolution(noise_on[size.name], planned + 1, len(arms)) or math.inf)
    noise = noise_on[best.name]
    hours = None if size is None else [_hours(run, size) for run in arms.values()]
    all_arms = ArmsPrice(len(arms), None if hours is None else hours[0][0] + sum(own for _, own in hours))
    usd = first.usd_per_hour
    record: dict[str, Any] = {
        "arms": len(arms),
        "basis": assumed_text(Assumptions())
        + (f"; numbers and prices are of the first of {len(studies)} studies" if len(studies) > 1 else "")
        + (f"; the size of {', '.join(unknown)} is not known" if unknown else ""),
        "rows": [asdict(row) for row in power_rows(noises, sorted({*SEEDS, planned, planned + 1}), len(arms))],
        "another_seed": {
            "benchmark": best.name if len(sizes) > 1 else "",
            "seeds": planned + 1, "runs": len(arms), "hours": all_arms.hours,
            "usd": None if usd is None or all_arms.hours is None else usd * all_arms.hours,
            "before": dict.fromkeys(contrasts, resolution(noise, planned, len(arms))),
            "after": dict.fromkeys(contrasts, resolution(noise, planned + 1, len(arms))),
        },
    }  # fmt: skip
    # Two arms suffice for a contrast. Which ones differs by contrast, so the dearest two are priced.
    pair = None if hours is None else hours[0][0] + sum(sorted(own for _, own in hours)[-2:])
    prices = [ArmsPrice(2, pair), all_arms] if len(arms) > 2 else [all_arms]
    best_first = {(best.name,): noises[best.name,]} | noises
    record["wanted"] = wanted_designs(best_first, first.wanted_points, prices, best.questions, usd)
    return record


def _contrasts(arms: Collection[tuple[str, str]]) -> list[str]:
    """The planned contrasts that arms, each a scale and a control, have both sides of."""
    from sg.artefacts.arms import CAPTION_EFFECT, CONTROL, SCALE_EFFECT

    scales = {parse_scale(scale) for scale, control in arms if control == HEADLINE}
    asked = {
        CAPTION_EFFECT: 0 in scales and len(scales) > 1,
        SCALE_EFFECT: len(scales - {0}) > 1,
        CONTROL: any(control == EQUAL_STEPS for _, control in arms),
    }
    return [contrast for contrast, is_asked in asked.items() if is_asked]


def _hours(config: TrainConfig, size: ModelSize) -> tuple[float, float]:
    """GPU-hours of the stages before the captions, which the arms of a seed share, and of the others of a run.

    Stages that exist already count too: this is the price of another seed.
    """
    from sg.study.planning.estimate import estimate_stage, expected_draws, gpu_hours

    hours = {
        stage.name: gpu_hours(estimate_stage(config, size, stage, draws).flops, config.trainer)
        for stage, draws in expected_draws(config)
        if draws
    }
    shared = hours.pop(config.stage.align.name, 0.0) if config.stage.align is not None else 0.0
    return shared, sum(hours.values())


def _benchmark_size(config: TrainConfig) -> BenchmarkSize | None:
    """The number of questions and videos: known, of the demo world's settings, or of the benchmark's files."""
    from sg.evaluate.benchmark import read_benchmark
    from sg.report.numbers.power import SIZES, BenchmarkSize

    name = str(config.benchmark.name)
    if name in SIZES:
        return SIZES[name]
    if name == "demo":
        world = getattr(config.data, "world", None) or config.demo_world
        videos = 3 * world.benchmark_videos
        return BenchmarkSize(name, videos * world.questions_per_video, videos)
    try:
        benchmark = read_benchmark(config.benchmark)
    except SgError:
        return None
    return BenchmarkSize(name, benchmark.num_questions, len(benchmark.videos))
