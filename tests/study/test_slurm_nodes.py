"""`launcher=slurm` with several nodes: what Slurm is asked for, and how the processes of all nodes meet."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from hydra_plugins.sg_launcher.study_sweeper import _compose_once
from sg.core.errors import ConfigError, SgError
from sg.study.devices import run_on_devices, slurm_start
from sg.train.config import TrainerConfig
from tests.repository.test_configs import CONFIG_FOLDER

TWO_NODES = TrainerConfig(devices=8, nodes=2, strategy="fsdp")


def in_job(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("JOB_ID", "JOB_NODELIST", "JOB_NUM_NODES", "NTASKS"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


def test_a_config_that_a_job_makes_read_only_is_composed_for_a_job_that_is_queued_again() -> None:
    loader: Any = SimpleNamespace(load_sweep_config=lambda config, words: OmegaConf.create({"hydra": 1}))
    _compose_once(loader)
    OmegaConf.set_readonly(loader.load_sweep_config(None, ["seed=1"]), True)
    assert not OmegaConf.is_readonly(loader.load_sweep_config(None, ["seed=1"]))


def test_slurm_is_asked_for_the_nodes_of_the_trainer_with_one_task_each(tmp_path: Path) -> None:
    slurm = pytest.importorskip("submitit.slurm.slurm")
    asked = ["launcher=slurm", "trainer=fsdp", "trainer.nodes=2"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        launcher = compose("train", asked, return_hydra_config=True).hydra.launcher
        sizes = {"nodes": launcher.nodes, "ntasks_per_node": launcher.tasks_per_node}
    text = slurm._make_sbatch_string("true", folder=tmp_path, **sizes)
    assert "#SBATCH --nodes=2\n" in text and "#SBATCH --ntasks-per-node=1\n" in text


def test_the_processes_of_all_nodes_meet_on_the_first_node(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    in_job(monkeypatch, JOB_ID="123456", JOB_NODELIST="gpu[03-04]", JOB_NUM_NODES="2", NTASKS="2")
    start = slurm_start(TWO_NODES)
    assert start[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--nproc-per-node=8", "--rdzv-endpoint=gpu03:23456", "--rdzv-id=123456"} < set(start)
    in_job(monkeypatch, JOB_ID="123457", JOB_NODELIST="gpu[03-04]", JOB_NUM_NODES="2", NTASKS="2")
    assert "--rdzv-endpoint=gpu03:23457" in slurm_start(TWO_NODES)


@pytest.mark.parametrize("job", [{}, {"JOB_ID": "7", "JOB_NODELIST": "gpu3", "JOB_NUM_NODES": "1", "NTASKS": "1"}])
def test_a_run_that_no_second_node_joins_is_refused(monkeypatch: pytest.MonkeyPatch, job: dict[str, str]) -> None:
    in_job(monkeypatch, **job)
    with pytest.raises(ConfigError, match=r"trainer\.nodes=2 needs one start per node: launcher=slurm, or torchrun"):
        slurm_start(TWO_NODES)


def test_processes_that_do_not_meet_end_in_a_sentence_that_names_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    in_job(monkeypatch, JOB_ID="12", JOB_NODELIST="gpu[03-04]", JOB_NUM_NODES="2", NTASKS="2")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    reasons: list[str] = []
    hydra = SimpleNamespace(
        runtime=SimpleNamespace(config_sources=[]), job=SimpleNamespace(config_name="train"),
        overrides=SimpleNamespace(task=[]),
    )  # fmt: skip
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra)
    monkeypatch.setattr("sg.study.run.note_reason", lambda run, reason: reasons.append(reason))
    monkeypatch.setattr("subprocess.run", lambda *args, **settings: SimpleNamespace(returncode=1))
    run: Any = SimpleNamespace(config=SimpleNamespace(trainer=TWO_NODES), folder=tmp_path)
    with pytest.raises(SgError):
        run_on_devices(run)
    assert reasons == ["a training process ended with exit code 1: the log of Slurm job 10_1 says why"]
