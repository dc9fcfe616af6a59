"""`launcher=slurm` on commands that stand for Slurm's and run the jobs here: arrays, preemption, failures."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sg.artefacts.result import read_result
from tests.slurm import COMPLETED, Job, commands, send, wait_for
from tests.study.commands import ROOT, SMALL_STUDY, environment, overrides, run, study_folder
from tests.study.test_sweep_end_to_end import table
from tests.train.test_nodes import free_port

pytestmark = pytest.mark.slow
SWEEP = ["train.py", "-m", "data.scale=50k", *SMALL_STUDY]
RUNS = ["0-seed0", "50k-seed0"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_"))]:
        monkeypatch.delenv(name)
    for name, value in commands(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "slurm"


def copy_world(folder: Path, other: Path) -> None:
    """Copy the videos of a study, and nothing that was trained."""
    shutil.copytree(folder / "work", other / "work", ignore=shutil.ignore_patterns("stages", "visual_tokens"))


def preempt(job: Job, work: Path) -> None:
    """Send the signal of Slurm to the first start of a job as soon as a stage of it has a checkpoint."""
    wait_for(job, lambda record: any(work.glob("stages/caption-*/resume/*.ckpt")), 1800)
    send(job, signal.SIGUSR2)


def test_an_array_of_two_scales_has_the_tables_of_the_local_launcher_though_a_job_is_preempted(
    slurm: Path, tmp_path: Path
) -> None:
    local, away = tmp_path / "local", tmp_path / "away"
    sweep = [word.replace("caption.epochs=1", "caption.epochs=12") for word in SWEEP]
    sweep.append("trainer.checkpoint_every_steps=1")
    assert run([*sweep, "launcher=local", *overrides(local)]).returncode == 0
    copy_world(local, away)
    job = Job(slurm, "100_1")
    threading.Thread(target=preempt, args=(job, away / "work"), daemon=True).start()
    done = run([*sweep, "launcher=slurm", "hydra.launcher.timeout_min=10", *overrides(away)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.parent.name for path in study_folder(away).glob("*/result.json")) == RUNS
    for name in ("100_0", "100_1"):  # a task ends some seconds after its result is there
        wait_for(Job(slurm, name), lambda record: record["state"] == COMPLETED, 120)
    assert job.read()["starts"] == 2
    assert "resumes from step=" in (study_folder(away) / "50k-seed0" / "run.log").read_text()
    columns = [[{key: row[key] for key in row if key not in ("seconds",)} for row in table(at)] for at in (local, away)]
    assert columns[0] == columns[1] != []


def test_a_job_that_is_killed_is_one_sentence_and_the_others_go_on(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_TEST_KILL", "100_1")
    done = run([*SWEEP, "launcher=slurm", *overrides(tmp_path)])
    assert done.returncode == 1
    sentence = "Run 50k-seed0 failed: Slurm job 100_1 ended without a result (FAILED); its log is "
    assert sentence in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    results = {name: read_result(study_folder(tmp_path) / name) for name in RUNS}
    assert results["0-seed0"].is_finished
    assert "100_1" in results["50k-seed0"].reason
    assert json.loads((study_folder(tmp_path) / "report" / "summary.json").read_text())


def test_two_machines_of_two_processes_that_torchrun_starts_have_the_results_of_one_process(tmp_path: Path) -> None:
    one, four = tmp_path / "one", tmp_path / "four"
    program = ["train.py", "data.scale=50k", *SMALL_STUDY]
    assert run([*program, *overrides(one)]).returncode == 0
    copy_world(one, four)
    start = [
        "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{free_port()}",
    ]  # fmt: skip
    command = [sys.executable, *start, *program, "trainer.nodes=2", "trainer.devices=2", *overrides(four)]
    nodes = [subprocess.Popen(command, cwd=ROOT, env=environment()) for _ in range(2)]
    assert [node.wait(900) for node in nodes] == [0, 0]
    alone, together = (read_result(study_folder(folder) / "50k-seed0") for folder in (one, four))
    assert together.steps == alone.steps
    assert together.held_out is not None and alone.held_out is not None
    assert together.held_out.per_token == pytest.approx(alone.held_out.per_token, rel=1e-4)
    assert together.scores.keys() == alone.scores.keys()
