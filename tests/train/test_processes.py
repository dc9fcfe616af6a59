"""Several processes train to the result of one; only the leading one writes, and a failure ends them all."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sg.artefacts.checkpoint import read_stage_info
from sg.core.errors import ConfigError
from sg.train.checks import check_machine
from sg.train.config import RecipeConfig, StageConfig, TrainerConfig
from sg.train.processes import run_together
from sg.train.stage import train_stage
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config
from tests.train.test_stage import losses, weights

# 42 samples: the last batch is smaller; micro-batches of 2 are accumulated by one process and by two.
STAGE: dict[str, Any] = {"count": 42, "batch_size": 8, "micro_batch_size": 2, "loss_samples": 4}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {"strategy": "ddp"},
    "fsdp": {"strategy": "fsdp", "packed": True, "gradient_checkpointing": True},
    "stopped_fsdp": {"strategy": "fsdp", "checkpoint_every_steps": 2},
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stage trained by one process in other micro-batches, and by a team of two with several strategies."""
    folder = tmp_path_factory.mktemp("stages")
    job = stage_job(folder / "alone", **STAGE | {"micro_batch_size": 4})
    train_stage(job, tiny_student, inputs(), RandomClips(), trainer_config(), lambda values: None)
    asked = [{"name": name, "stage": STAGE, "trainer": {"devices": 2, **how}} for name, how in STRATEGIES.items()]
    asked[-1]["stop_at"] = 3
    command = [sys.executable, "-m", "tests.train.member", str(folder), json.dumps(asked)]
    assert run_together(command, 2, ENVIRONMENT) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_two_processes_train_to_the_loss_and_weights_of_one(name: str, stages: Path) -> None:
    assert losses(stages / name) == pytest.approx(losses(stages / "alone"), abs=1e-5)
    one, two = weights(stages / "alone"), weights(stages / name)  # read by this process, which is alone
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-5)
    info = read_stage_info(stages / name)
    assert info is not None
    assert (info.steps, info.samples) == (6, 42)
    assert {path.name for path in (stages / name).iterdir()} == {path.name for path in (stages / "alone").iterdir()}


def test_the_first_failure_ends_a_team_and_sets_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg.train.processes._GRACE_S", 0.2)
    program = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(600)"
    assert run_together([sys.executable, "-c", program], 2) == 3


def test_members_of_a_team_share_one_address_and_have_their_own_rank(tmp_path: Path) -> None:
    names = "'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'"
    program = f"import os, pathlib; e = os.environ; pathlib.Path(r'{tmp_path}', e['RANK']).write_text(' '.join(e[n] for n in ({names})))"  # noqa: E501  # fmt: skip
    assert run_together([sys.executable, "-c", program], 2) == 0
    first, second = ((tmp_path / rank).read_text().split() for rank in "01")
    assert first == second
    assert first[:2] == ["2", "127.0.0.1"]


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        ({"devices": 3}, "batch_size=128 cannot be split over 3 devices"),
        ({"strategy": "fsdp"}, None),
        ({"devices": 128}, None),
    ],
)
def test_impossible_machines_are_refused_in_one_sentence(trainer: dict[str, Any], sentence: str | None) -> None:
    recipe = RecipeConfig()
    if sentence is None:
        check_machine(recipe, TrainerConfig(**trainer))
        return
    with pytest.raises(ConfigError, match=sentence) as caught:
        check_machine(recipe, TrainerConfig(**trainer))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"strategy": "deepspeed"}, {"precision": "8"}, {"peak_tflops": 0.0}])
def test_an_unknown_setting_of_the_machine_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"trainer\.{next(iter(setting))}="):
        TrainerConfig(**setting)


def test_micro_batches_must_divide_the_samples_of_a_mean() -> None:
    stage = StageConfig(name="caption", batch_size=24, micro_batch_size=3, loss_samples=8)
    with pytest.raises(ConfigError, match=r"loss_samples=8 should be a multiple"):
        check_machine(RecipeConfig(caption=stage), TrainerConfig())
