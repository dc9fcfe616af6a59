"""Stages of `sg.train` train students of transformers: parts, adapters, resuming, several processes, saving."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText

from sg.artefacts.checkpoint import LOSS_FILE
from sg.core.errors import DataError, ModelError
from sg.models.student import PARTS, part_of
from sg.train.adapters import add_adapters, without_adapters
from sg.train.processes import run_together
from tests.models.hf.builders import stage_job, train
from tests.models.hf.families import FAMILIES
from tests.models.hf.more_families import EVERY_FAMILY
from tests.models.hf.samples import LONG, samples_of, student_of
from tests.train.member import Stopped, fail_after

LM = ["language_model"]
RESUMED = 1e-6
"""Of the loss and of every weight."""


def losses(folder: Path) -> list[float]:
    with (folder / LOSS_FILE).open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a stage, read by transformers alone."""
    return AutoModelForImageTextToText.from_pretrained(folder).state_dict()


def changed_parts(family: str, folder: Path) -> set[str]:
    student, after = student_of(family), weights(folder)
    before = student.module.state_dict()
    return {part_of(student.parts, name) for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stage_learns_and_changes_only_the_language_model(family: str, tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", epochs=3, learning_rate=1e-2)
    train(family, job, packed=True, gradient_checkpointing=True)
    curve = losses(job.folder)
    assert sum(curve[-4:]) < 0.9 * sum(curve[:4])
    assert changed_parts(family, job.folder) == {"language_model"}


@pytest.mark.parametrize("parts", [["connector"], ["vision"], list(PARTS)], ids=",".join)
def test_any_parts_can_learn_from_pixels(parts: list[str], tmp_path: Path) -> None:
    job = stage_job(tmp_path / "stage", count=8, trains=parts)
    train("qwen3_vl", job, are_features=False)
    assert changed_parts("qwen3_vl", job.folder) == set(parts)


def test_a_part_without_weights_cannot_learn(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"stage\.caption\.trains names vision, but the model has no weights"):
        train("gemma4_unified", stage_job(tmp_path, trains=["vision", "language_model"]), are_features=False)


@pytest.mark.parametrize(("family", "parts"), [("qwen3_vl", ["connector", *LM]), ("molmo2", LM)])
def test_cached_features_and_packing_do_not_change_a_stage(family: str, parts: list[str], tmp_path: Path) -> None:
    trained = {}
    for name, are_features, packed in (("pixels", False, False), ("cached", True, False), ("packed", True, True)):
        job = stage_job(tmp_path / name, trains=parts)
        train(family, job, are_features, packed=packed)
        trained[name] = (losses(job.folder), weights(job.folder))
    for name in ("cached", "packed"):
        assert trained[name][0] == pytest.approx(trained["pixels"][0], abs=1e-5)
        for key, value in trained["pixels"][1].items():
            torch.testing.assert_close(trained[name][1][key], value, rtol=0, atol=1e-4)  # Adam magnifies rounding


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_merged_adapters_are_the_model_that_was_trained(family: str, tmp_path: Path) -> None:
    student = student_of(family)
    add_adapters(student, stage_job(tmp_path, peft="lora", trains=["language_model"]).stage, seed=1)
    student.module.eval()  # new layers begin with dropout
    for name, value in student.module.named_parameters():
        if "lora_B" in name:
            value.data.normal_(std=0.1)
    adapted = {name for name, _ in student.module.named_parameters() if ".lora_" in name}
    assert adapted and all(part_of(student.parts, name) == "language_model" for name in adapted)
    batch = student.processor.collate(samples_of(student), LONG)
    expected = student.loss(batch)[0]
    without_adapters(student, lambda: student_of(family))
    assert not any(".lora_" in name for name, _ in student.module.named_parameters())
    torch.testing.assert_close(student.loss(batch)[0], expected, rtol=0, atol=1e-5)


def test_a_stage_with_adapters_is_saved_as_an_ordinary_model(tmp_path: Path) -> None:
    job = stage_job(tmp_path / "caption", peft="lora", epochs=2)
    train("qwen2_5_vl", job)
    assert changed_parts("qwen2_5_vl", job.folder) == {"language_model"}
    assert not list(job.folder.glob("adapter*"))


def test_adapters_that_are_kept_apart_are_read_with_the_model(tmp_path: Path) -> None:
    from peft import PeftModel

    from sg.models.hf.checkpoint import load_model

    folders = {}
    for merge in (True, False):
        job = stage_job(tmp_path / f"merged-{merge}", peft="lora", merge_adapters=merge, trains=["connector", *LM])
        train("qwen3_vl", job, are_features=False)
        student_of("qwen3_vl").processor.save(job.folder)
        folders[merge] = job.folder
    merged = load_model(folders[True], "float32", "merged").state_dict()
    apart = AutoModelForImageTextToText.from_pretrained(folders[False])
    assert all(
        torch.equal(value, student_of("qwen3_vl").module.state_dict()[name])
        for name, value in apart.state_dict().items()
        if "language_model.layers" in name
    )
    together = PeftModel.from_pretrained(apart, folders[False] / "adapters").merge_and_unload().state_dict()
    read = load_model(folders[False], "float32", "apart").state_dict()
    for name, value in merged.items():
        torch.testing.assert_close(read[name], value, rtol=0, atol=1e-6)
        torch.testing.assert_close(together[name], value, rtol=0, atol=1e-6)
    (folders[False] / "adapters" / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="damaged or was edited"):
        load_model(folders[False], "float32", "apart")


def assert_resumed(killed: Path, undisturbed: Path) -> None:
    assert losses(killed) == pytest.approx(losses(undisturbed), abs=RESUMED)
    expected = weights(undisturbed)
    for name, value in weights(killed).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=RESUMED)


def test_a_stopped_stage_with_adapters_resumes_to_the_same_weights(tmp_path: Path) -> None:
    undisturbed, stopped = (stage_job(tmp_path / name, epochs=2, peft="lora") for name in ("undisturbed", "stopped"))
    train("qwen3_vl", undisturbed, packed=True)
    fail_after(5)
    try:
        with pytest.raises(Stopped):
            train("qwen3_vl", stopped, packed=True)
    finally:
        fail_after(None)
    train("qwen3_vl", stopped, packed=True)
    assert_resumed(stopped.folder, undisturbed.folder)


def test_a_stage_whose_process_was_killed_resumes_to_the_same_weights(tmp_path: Path) -> None:
    stage = {"epochs": 2, "trains": list(PARTS)}
    undisturbed, killed = (stage_job(tmp_path / name, **stage) for name in ("undisturbed", "killed"))
    settings = {"name": "killed", "family": "qwen3_vl", "stage": stage, "trainer": {}, "are_features": False}
    member = [sys.executable, "-m", "tests.models.hf.member", str(tmp_path), json.dumps([settings | {"kill_at": 5}])]
    assert subprocess.run(member, check=False).returncode == -signal.SIGKILL
    assert len(losses(killed.folder)) < 8 and not (killed.folder / "stage.json").exists()
    train("qwen3_vl", killed, are_features=False)
    train("qwen3_vl", undisturbed, are_features=False)
    assert_resumed(killed.folder, undisturbed.folder)


def run_team(folder: Path, stages: list[dict[str, Any]]) -> None:
    """Train the stages, one after another, in two processes."""
    for stage in stages:
        stage["trainer"] = {"devices": 2, "packed": True} | stage["trainer"]
    command = [sys.executable, "-m", "tests.models.hf.member", str(folder), json.dumps(stages)]
    assert run_together(command, 2) == 0


def assert_as_alone(folder: Path, stages: list[dict[str, Any]]) -> None:
    """Compare each stage of a team with the same stage in one process."""
    for stage in stages:
        alone = stage_job(folder / f"alone-{stage['name']}", **stage["stage"])
        train(stage["family"], alone, stage["are_features"], packed=True)
        assert losses(folder / stage["name"]) == pytest.approx(losses(alone.folder), abs=1e-5)
        expected = weights(alone.folder)
        for key, value in weights(folder / stage["name"]).items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=2e-4)  # Adam magnifies rounding
        sizes = [
            sum(f.stat().st_size for f in at.glob("*.safetensors")) for at in (folder / stage["name"], alone.folder)
        ]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.01)  # tied weights are in the file once


TEAM_STAGES = [
    {"name": f"{family}-{strategy}-{len(trains)}", "family": family, "stage": {"trains": trains, "count": 8},
     "are_features": are_features, "trainer": {"strategy": strategy}}
    for family in FAMILIES
    for strategy, trains, are_features in (
        ("ddp", list(PARTS), False), ("fsdp", ["language_model"], True), ("fsdp", list(PARTS), False)
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages of all families, trained by one team: starting its processes takes longer than a stage."""
    folder = tmp_path_factory.mktemp("team")
    run_team(folder, TEAM_STAGES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_train_to_the_loss_and_weights_of_one(family: str, team: Path) -> None:
    assert_as_alone(team, [stage for stage in TEAM_STAGES if stage["family"] == family])


def test_processes_do_not_wait_for_one_that_has_no_clip_or_no_sample(tmp_path: Path) -> None:
    # One sample per process and pass: in some passes one process has text only, or a clip that does not fit.
    one = {"count": 6, "batch_size": 2, "micro_batch_size": 1, "max_length": 45}
    stages = [
        {"name": f"{strategy}-{name}", "family": "qwen3_vl", "stage": one | {"trains": trains},
         "are_features": are_features, "trainer": {"strategy": strategy}}
        for strategy in ("ddp", "fsdp")
        for name, trains, are_features in (
            ("cached", ["language_model"], True), ("frozen", ["language_model"], False), ("all", list(PARTS), False)
        )
    ]  # fmt: skip
    run_team(tmp_path, stages)
    assert_as_alone(tmp_path, stages)
