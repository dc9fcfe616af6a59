"""Two machines with two processes each, which `torchrun` starts, train to the weights of one process."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.checkpoint import resume_points
from sg.train.stage import train_stage
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config
from tests.train.test_processes import ENVIRONMENT, STAGE
from tests.train.test_stage import losses, weights

STRATEGIES = ("ddp", "fsdp")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def asked(strategy: str, **more: Any) -> dict[str, Any]:
    trainer = {"nodes": 2, "devices": 2, "strategy": strategy, "checkpoint_every_steps": 2}
    return {"name": strategy, "stage": STAGE, "trainer": trainer, **more}


def start(folder: Path, *stages: dict[str, Any]) -> list[int]:
    """Start `torchrun` for two machines, and return their exit codes."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{free_port()}", "-m", "tests.train.member", str(folder), json.dumps(stages),
    ]  # fmt: skip
    nodes = [subprocess.Popen(command, env=ENVIRONMENT) for _ in range(2)]
    return [node.wait(1800) for node in nodes]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    job = stage_job(folder / "alone", **STAGE | {"micro_batch_size": 4})
    train_stage(job, tiny_student, inputs(), RandomClips(), trainer_config(), lambda values: None)
    assert start(folder, *[asked(name) for name in STRATEGIES]) == [0, 0]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_two_machines_train_to_the_loss_and_weights_of_one_process(name: str, stages: Path) -> None:
    assert losses(stages / name) == pytest.approx(losses(stages / "alone"), abs=1e-5)
    one, four = weights(stages / "alone"), weights(stages / name)
    assert one.keys() == four.keys()
    for key in one:
        assert float((one[key] - four[key]).norm()) <= 1e-6 * float(one[key].norm()), key


@pytest.mark.slow
def test_a_stage_that_loses_a_machine_resumes(stages: Path, tmp_path: Path) -> None:
    codes = start(tmp_path, asked("fsdp", lose_machine_at=5))
    assert -signal.SIGKILL in codes and 0 not in codes
    assert resume_points(tmp_path / "fsdp")[-1].name == "step=4.ckpt"
    assert start(tmp_path, asked("fsdp")) == [0, 0]
    assert losses(tmp_path / "fsdp") == pytest.approx(losses(stages / "alone"), abs=1e-5)
