"""A stage that was begun by four processes is resumed by two, and by one, with the curve of an undisturbed stage."""

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.checkpoint import resume_points
from sg.train import processes
from sg.train.resume import resume_from
from sg.train.stage import train_stage
from tests.study.commands import WARM
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config
from tests.train.member import Stopped, fail_after, train_one
from tests.train.test_nodes import free_port
from tests.train.test_processes import STAGE
from tests.train.test_stage import losses

DEAD = 9


def _member(rank: int, size: int, port: int, folder: Path, asked: list[dict[str, Any]]) -> None:
    """Train as a process of a team; a stage with `stop_at` fails, one with `kill_at` loses its second process."""
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "GROUP_RANK": 0}
    os.environ |= {name: str(value) for name, value in here.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "sg"}
    processes.join_team.cache_clear()
    processes._control_group.cache_clear()
    for settings in asked:
        fail_after(settings.get("stop_at", settings.get("kill_at")), kill="kill_at" in settings)
        try:
            train_one(folder, settings)
        except Stopped:
            continue
    sys.stdout.flush()
    os._exit(0)


def run_team(size: int, folder: Path, *asked: dict[str, Any]) -> list[int | None]:
    """Train the stages with a team of processes; return the exit codes.

    They are forks of a server that has imported everything and has run nothing: this process may have been a member of
    another team, and PyTorch remembers its place there.
    """
    context, port = multiprocessing.get_context("forkserver"), free_port()
    context.set_forkserver_preload(WARM)
    team = [context.Process(target=_member, args=(rank, size, port, folder, list(asked))) for rank in range(size)]
    for member in team:
        member.start()
    for member in reversed(team):
        member.join(300 if all(one.exitcode in (None, 0) for one in team) else 20)
    for member in team:
        member.kill()
        member.join()
    return [member.exitcode for member in team]


def stage(name: str, devices: int, **end: int) -> dict[str, Any]:
    trainer = {"devices": devices, "strategy": name, "checkpoint_every_steps": 2}
    return {"name": name, "stage": STAGE, "trainer": trainer, **end}


@pytest.mark.slow
def test_a_stage_of_four_processes_resumes_on_two_and_on_one(tmp_path: Path) -> None:
    calm = stage_job(tmp_path / "calm", **STAGE)
    train_stage(calm, tiny_student, inputs(), RandomClips(), trainer_config(), lambda values: None)
    assert run_team(4, tmp_path, stage("fsdp", 4, stop_at=3), stage("ddp", 4, stop_at=3)) == [0] * 4
    (saved,) = (tmp_path / "fsdp" / "resume").iterdir()
    assert len(list(saved.glob("*.distcp"))) == 4
    ended = run_team(2, tmp_path, stage("fsdp", 2, stop_at=5), stage("ddp", 2, kill_at=5))
    assert ended[1] == -DEAD and ended[0] != 0
    assert resume_points(tmp_path / "fsdp")[-1].name == "step=4.ckpt"
    assert run_team(1, tmp_path, stage("fsdp", 1)) == [0]
    train_one(tmp_path, stage("ddp", 1) | {"trainer": {}})
    for name in ("fsdp", "ddp"):
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "calm"), abs=1e-5)
        assert sorted(path.name for path in (tmp_path / name).glob("resume*")) == []


@pytest.mark.slow
def test_a_damaged_sharded_checkpoint_is_not_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run_team(1, tmp_path, stage("fsdp", 1, stop_at=3)) == [0]
    (saved,) = resume_points(tmp_path / "fsdp")
    assert resume_from(tmp_path / "fsdp", "caption") == saved
    (shard,) = saved.glob("*.distcp")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert resume_from(tmp_path / "fsdp", "caption") is None
    assert "step=2.ckpt is damaged" in caplog.text
    (saved / ".metadata").unlink()  # killed while it was written
    assert resume_from(tmp_path / "fsdp", "caption") is None
