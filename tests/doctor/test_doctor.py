"""The doctor reports what a study lacks, in one line each, and never shows a key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import sg.study.config  # noqa: F401  # registers the schemas
from sg.core.commands import typed
from sg.core.layout import CONFIG_FOLDER
from sg.doctor.findings import LACK, NOTE, OK, Finding, lines
from sg.doctor.machine import examine_machine
from sg.doctor.study import examine_study, runs_of_study
from sg.study.config import TrainConfig
from sg.study.planning.plan import planned_work
from sg.train.data.visual_tokens import readable_size
from tests.study.commands import ROOT


def composed(tmp_path: Path, *overrides: str) -> TrainConfig:
    folders = [f"paths.work={tmp_path / 'work'}", f"paths.runs={tmp_path / 'runs'}"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return typed(compose("doctor", [*overrides, *folders]), TrainConfig)


def lacking(findings: list[Finding]) -> list[str]:
    return [f"{finding.text} -> {finding.fix}" for finding in findings if finding.status == LACK]


def test_the_demo_lacks_nothing_because_it_makes_everything(tmp_path: Path) -> None:
    findings = examine_study(composed(tmp_path))
    assert lacking(findings) == []
    assert any(finding.status == NOTE and "made by the study" in finding.text for finding in findings)


def test_every_missing_part_of_a_real_study_is_reported(tmp_path: Path) -> None:
    config = composed(
        tmp_path, "model=chat_univi_7b_v15", "benchmark=video_mme", "data=folder", "data.videos=/nowhere/clips",
        "data.captions=/nowhere/captions.csv",
    )  # fmt: skip
    reported = "\n".join(lacking(examine_study(config)))
    for part in ("/nowhere/clips", "/nowhere/captions.csv", "stage.align.sources", "llava_instruct", "video_mme"):
        assert part in reported


def test_a_scale_beyond_the_data_is_a_finding_and_not_a_crash(tmp_path: Path) -> None:
    assert any("9000k" in text for text in lacking(examine_study(composed(tmp_path, "data.scale=9000k"))))


def test_weights_that_do_not_exist_are_reported(tmp_path: Path) -> None:
    reported = lacking(examine_study(composed(tmp_path, f"model.language_model={tmp_path / 'none'}")))
    assert reported and "model.language_model" in reported[0]


def test_missing_gpus_are_reported(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    reported = lacking(examine_machine(composed(tmp_path, "trainer=gpu")))
    assert reported and "trainer=cpu" in reported[0]


def test_the_gpus_of_a_cluster_are_not_searched_on_this_machine(tmp_path: Path) -> None:
    config = composed(tmp_path, "trainer=ddp")
    findings = examine_machine(config, on_cluster=True)
    assert not lacking(findings)
    assert any("each job needs a node with 8 GPU(s)" in finding.text for finding in findings)


def test_the_disk_of_a_sweep_is_that_of_its_plan(tmp_path: Path) -> None:
    """The number of the finding is the number of `train.py experiment=scaling_webvid dry_run=true`."""
    config = composed(tmp_path, "experiment=scaling_webvid")
    runs = runs_of_study(config, {"data.scale": "50k,100k,200k,400k,530k"})
    assert [(str(run.data.scale), run.data.control) for run in runs] == [
        ("0", "none"), ("50k", "none"), ("100k", "none"), ("200k", "none"), ("400k", "none"), ("530k", "none"),
        ("50k", "equal_steps"),
    ]  # fmt: skip
    (disk,) = [one.text for one in examine_machine(config, runs) if "needs" in one.text]
    needed = planned_work(runs)[1].totals(runs)
    assert needed is not None and readable_size(needed["disk_bytes"]) == "1.47 TB"
    assert disk.endswith("the sweep of 7 runs with these settings needs 1.47 TB")
    assert [run.seed for run in runs_of_study(config, {"seed": "0, 1", "data.scale": "0"})] == [0, 1]
    assert runs_of_study(config, {"curator": "tome,random"}) == [config]


def test_the_command_shows_that_a_key_is_set_and_never_the_key(tmp_path: Path) -> None:
    folders = [f"paths.work={tmp_path / 'work'}", f"paths.runs={tmp_path / 'runs'}"]
    environment = os.environ | {"GEMINI_API_KEY": "very-secret-1", "WANDB_API_KEY": "very-secret-2"}
    done = subprocess.run(
        [sys.executable, "-m", "sg.doctor", *folders],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "GEMINI_API_KEY is set" in done.stdout and "Nothing is missing" in done.stdout
    assert "very-secret" not in done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()


def test_findings_are_grouped_and_counted() -> None:
    written = lines([Finding("A", OK, "one"), Finding("A", LACK, "two", "fix it"), Finding("B", NOTE, "three")])
    assert written == [
        "A", "  ok    one", "  LACK  two", "        -> fix it", "", "B", "  note  three", "",
        "1 thing is missing for a study with these settings.",
    ]  # fmt: skip
