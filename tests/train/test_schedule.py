"""Learning-rate schedules: their values, and the rate that a stage logs."""

import csv
import itertools
import math
from pathlib import Path

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from sg.artefacts.checkpoint import LOSS_FILE
from sg.core.errors import ConfigError
from sg.train.config import StageConfig
from sg.train.schedule import SCHEDULES, learning_rate_factor
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("cosine", 0.5, 0.0), ("linear", 0.5, 0.0), ("constant", 1, 1)]
)
def test_the_rate_rises_from_zero_to_its_peak_and_then_follows_the_schedule(
    schedule: str, middle: float, end: float
) -> None:
    factors = [learning_rate_factor(schedule, step, 103, 0.03) for step in range(104)]
    assert factors[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert factors[4] == max(factors)
    assert all(a >= b for a, b in itertools.pairwise(factors[4:]))
    assert factors[-1] == pytest.approx(end)
    assert learning_rate_factor(schedule, 52, 100, 0.04) == pytest.approx(middle)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.3, 0.99])
def test_the_warm_up_leaves_every_stage_a_step_at_the_peak_rate(schedule: str, fraction: float) -> None:
    for total in range(1, 40):
        assert max(learning_rate_factor(schedule, step, total, fraction) for step in range(total)) == 1.0


@pytest.mark.parametrize("total", [2, 33, 34, 391, 4141])
def test_the_default_schedule_is_that_of_the_reference(total: int) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = get_cosine_schedule_with_warmup(optimizer, math.ceil(0.03 * total), total)
    for step in range(total):
        assert learning_rate_factor("cosine", step, total, 0.03) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        reference.step()


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stage\.align\.schedule='step' should be one of cosine, linear, constant"):
        StageConfig(name="align", schedule="step")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_logged_rate_is_that_of_the_optimiser(schedule: str, tmp_path: Path) -> None:
    from sg.train.stage import train_stage

    job = stage_job(tmp_path / "caption", schedule=schedule, warmup_fraction=0.3)
    train_stage(job, tiny_student, inputs(), RandomClips(), trainer_config(), lambda values: None)
    with (job.folder / LOSS_FILE).open() as stream:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(stream)]
    peak = job.stage.learning_rate
    assert rates == [peak * learning_rate_factor(schedule, step, job.steps, 0.3) for step in range(job.steps)]
