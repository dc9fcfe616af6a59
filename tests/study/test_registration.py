"""`register=true`: the registration is written before the first run, and is never changed."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.arms import REGISTRATION_FILE, read_registration
from sg.artefacts.result import RunResult, write_result
from sg.core.errors import ConfigError
from sg.study.config import PrimaryConfig, TrainConfig, study_name
from sg.study.registration import check_registered, register_studies, registration_of
from tests.repository.test_configs import composed


@cache
def config() -> TrainConfig:
    return composed("paths.work=nowhere/work", "paths.runs=nowhere/runs")


def run(scale: str, seed: int = 0, control: str = "none", **primary: Any) -> TrainConfig:
    data = replace(config().data, scale=scale, control=control)
    return replace(config(), data=data, seed=seed, register=True, primary=PrimaryConfig(**primary))


def sweep(seeds: tuple[int, ...] = (0, 1), **primary: Any) -> list[TrainConfig]:
    arms = (("0", "none"), ("50k", "none"), ("530k", "none"), ("50k", "equal_steps"))
    return [run(scale, seed, control, **primary) for scale, control in arms for seed in seeds]


def test_a_sweep_registers_contrast_metric_arms_seeds_and_rule(tmp_path: Path) -> None:
    register_studies({tmp_path: sweep(contrast="control", equivalence_points=0.5)})
    found = read_registration(tmp_path)
    assert found is not None
    assert (found.contrast, found.metric, found.benchmark, found.setting) == (
        "control", "accuracy", "demo", "without_subtitles",
    )  # fmt: skip
    assert (found.arms, found.seeds) == (["0", "50k", "530k", "50k/equal_steps"], [0, 1])
    assert "within ±0.5 points" in found.rule and len(found.date) == len("2026-01-01")


def test_the_same_sweep_again_keeps_its_registration_and_another_one_is_refused(tmp_path: Path) -> None:
    register_studies({tmp_path: sweep()})
    before = (tmp_path / REGISTRATION_FILE).read_bytes()
    write_result(tmp_path / "50k-seed0", RunResult("50k-seed0", "study", 50_000, "50k", 0))
    register_studies({tmp_path: sweep()})
    for other, key in (
        (sweep((0, 1, 2)), "seeds"),
        (sweep(setting="with_subtitles"), "setting"),
        (sweep()[:-2], "arms"),
    ):
        with pytest.raises(ConfigError, match=rf"has registered {key}=.*a registration does not change"):
            register_studies({tmp_path: other})
    assert (tmp_path / REGISTRATION_FILE).read_bytes() == before


def test_a_study_with_results_is_not_registered_afterwards(tmp_path: Path) -> None:
    write_result(tmp_path / "50k-seed0", RunResult("50k-seed0", "study", 50_000, "50k", 0))
    with pytest.raises(ConfigError, match=r"1 results already.*before its first run"):
        register_studies({tmp_path: sweep()})
    assert read_registration(tmp_path) is None


def test_nothing_is_registered_if_one_of_several_studies_cannot_be(tmp_path: Path) -> None:
    write_result(tmp_path / "b" / "0-seed0", RunResult("0-seed0", "study", 0, "0", 0))
    with pytest.raises(ConfigError):
        register_studies({tmp_path / "a": sweep(), tmp_path / "b": sweep()})
    assert read_registration(tmp_path / "a") is None


def test_a_contrast_without_its_arms_and_uneven_seeds_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"primary.contrast=control cannot be registered"):
        registration_of([run("0", contrast="control"), run("50k", contrast="control")])
    with pytest.raises(ConfigError, match="same seeds for every arm: 50k lacks"):
        registration_of([run("0", 0), run("0", 1), run("50k", 0)])
    with pytest.raises(ConfigError, match=r"primary.contrast='best' should be one of caption_effect, "):
        PrimaryConfig(contrast="best")


def test_one_seed_registers_that_training_again_is_not_covered() -> None:
    assert "one seed: training again is not covered" in registration_of(sweep((0,))).rule


def test_a_job_of_the_sweep_passes_and_a_run_outside_of_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="registers a whole sweep"):
        check_registered(run("50k"), tmp_path)
    register_studies({tmp_path: sweep()})
    check_registered(run("50k", 1, "equal_steps"), tmp_path)
    with pytest.raises(ConfigError, match="does not contain 100k with seed 0"):
        check_registered(run("100k"), tmp_path)


def test_registering_does_not_change_the_name_of_the_study() -> None:
    assert study_name(run("50k", contrast="control")) == study_name(config())
