"""Two machines with two processes each, which `torchrun` starts, train to the weights of one process."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    job = stage_job(folder / "alone", **STAGE | {"micro_batch_size": 4})
    train_stage(job, tiny_student, inputs(), RandomClips(), trainer_config(), lambda values: None)
    asked = [{"name": name, "stage": STAGE, "trainer": {"nodes": 2, "devices": 2, "strategy": name}}
             for name in STRATEGIES]  # fmt: skip
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{free_port()}", "-m", "tests.train.member", str(folder), json.dumps(asked),
    ]  # fmt: skip
    nodes = [subprocess.Popen(command, env=ENVIRONMENT) for _ in range(2)]
    assert [node.wait(900) for node in nodes] == [0, 0]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_two_machines_train_to_the_loss_and_weights_of_one_process(name: str, stages: Path) -> None:
    assert losses(stages / name) == pytest.approx(losses(stages / "alone"), abs=1e-5)
    one, four = weights(stages / "alone"), weights(stages / name)
    assert one.keys() == four.keys()
    for key in one:
        torch.testing.assert_close(one[key], four[key], rtol=1e-4, atol=1e-5)
