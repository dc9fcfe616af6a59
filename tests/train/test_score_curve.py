"""`trainer.evaluate_every`: a sample is scored with the weights of the moment, and training does not notice."""

import csv
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from sg.core.errors import ConfigError
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.sample import sample_scores, sampled
from sg.models.answering import Answerer, EncodedPrompt
from sg.models.student import Student
from sg.train.config import LoraConfig, TrainerConfig
from sg.train.processes import run_together
from sg.train.score_curve import scored_steps
from sg.train.stage import SCORES_FILE, StageJob, train_stage
from tests.evaluate.evaluation_builder import world
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config
from tests.train.member import Stopped, fail_after
from tests.train.test_stage import losses, weights


def ask(student: Student) -> Mapping[str, float]:
    """Generates an answer, draws random numbers, and leaves the model in evaluation mode."""
    torch.rand(7)
    ids = inputs().question("What is it?", None).ids
    (answer,) = Answerer(student).answer([EncodedPrompt(ids, "none", max_new_tokens=4)], {"none": None})
    # The sum of the weights tells the moments apart.
    moment = sum(float(value.detach().double().abs().sum()) for value in student.module.parameters())
    return {"moment": moment, "ids": float(sum(answer.ids))}


def train(job: StageJob, every: float | None, reported: list[Mapping[str, float]] | None = None) -> None:
    torch.set_num_threads(1)
    report = (lambda values: None) if reported is None else reported.append
    config = trainer_config(evaluate_every=every)
    train_stage(job, tiny_student, inputs(), RandomClips(), config, report, ask=ask)


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / SCORES_FILE).open() as stream:
        return [*csv.DictReader(stream)]


def test_scores_during_training_change_no_bit_of_the_weights(tmp_path: Path) -> None:
    adapters = {"peft": "lora", "lora": LoraConfig(rank=2, dropout=0.3)}
    for name, more in (("whole", {}), ("adapters", adapters)):
        reported: list[Mapping[str, float]] = []
        train(stage_job(tmp_path / name, **more), None)
        train(stage_job(tmp_path / f"{name}-scored", **more), 0.25, reported)
        plain, scored = weights(tmp_path / name), weights(tmp_path / f"{name}-scored")
        assert all(torch.equal(plain[key], scored[key]) for key in plain)
        assert losses(tmp_path / name) == losses(tmp_path / f"{name}-scored")
        rows = curve(tmp_path / f"{name}-scored")
        assert [row["step"] for row in rows] == ["2", "5", "8", "10"]
        assert [row["samples"] for row in rows] == ["8", "20", "32", "40"]
        assert len({row["moment"] for row in rows}) == 4
        assert not (tmp_path / name / SCORES_FILE).exists()
        found = [values for values in reported if "evaluate/caption/moment" in values]
        assert [values["train/caption/samples"] for values in found] == [8, 20, 32, 40]


def test_a_resumed_stage_has_the_curve_of_an_undisturbed_one(tmp_path: Path) -> None:
    train(stage_job(tmp_path / "calm"), 0.2)
    fail_after(7)
    try:
        with pytest.raises(Stopped):
            train(stage_job(tmp_path / "stopped"), 0.2)
    finally:
        fail_after(None)
    assert len(curve(tmp_path / "stopped")) == 3  # one of them is after the last checkpoint
    train(stage_job(tmp_path / "stopped"), 0.2)
    assert curve(tmp_path / "stopped") == curve(tmp_path / "calm")


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one_and_scores_change_no_bit_of_their_weights(tmp_path: Path) -> None:
    adapters = {"peft": "lora", "lora": {"rank": 2, "dropout": 0.3}}
    ddp = {"devices": 2, "strategy": "ddp"}
    asked = [
        {"name": name, "stage": stage, "trainer": {**ddp, "evaluate_every": every}}
        for stage, kind in (({}, "whole"), (adapters, "adapters"))
        for name, every in ((f"{kind}-plain", None), (f"{kind}-scored", 0.25))
    ]
    command = [sys.executable, "-m", "tests.train.member", str(tmp_path), json.dumps(asked)]
    assert run_together(command, 2, os.environ | {"OMP_NUM_THREADS": "1"}) == 0
    for kind in ("whole", "adapters"):
        plain, scored = weights(tmp_path / f"{kind}-plain"), weights(tmp_path / f"{kind}-scored")
        assert all(torch.equal(plain[key], scored[key]) for key in plain)
    train(stage_job(tmp_path / "alone"), 0.25)
    one, two = curve(tmp_path / "alone"), curve(tmp_path / "whole-scored")
    assert [(row["step"], row["samples"], row["ids"]) for row in two] == [
        (row["step"], row["samples"], row["ids"]) for row in one
    ]
    moments = [[float(row["moment"]) for row in rows] for rows in (two, one)]
    assert moments[0] == pytest.approx(moments[1], rel=1e-6)


def test_the_steps_are_shares_of_the_stage() -> None:
    assert sorted(scored_steps(0.25, 100)) == [25, 50, 75, 100]
    assert sorted(scored_steps(0.3, 10)) == [3, 6, 9]
    assert sorted(scored_steps(0.25, 2)) == [1, 2]
    for wrong in ({"evaluate_every": 0.0}, {"evaluate_every": 1.5}, {"evaluate_every": 0.5, "evaluate_questions": 0}):
        with pytest.raises(ConfigError, match=r"trainer\.evaluate_every should be 0\.01 to 1"):
            TrainerConfig(**wrong)
    with pytest.raises(ConfigError, match="fsdp"):
        TrainerConfig(evaluate_every=0.5, strategy="fsdp", devices=2)


def test_the_sample_is_a_fixed_part_of_the_videos_and_scored_as_in_an_evaluation(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=9)
    sample = sampled(made.benchmark, 10)
    assert sample.num_questions == 12 and sampled(made.benchmark, 10) == sample
    assert {video.media_id for video in sampled(made.benchmark, 4).videos} < {video.media_id for video in sample.videos}
    assert sampled(made.benchmark, 1000) == read_benchmark(made.config)
    scores = sample_scores(made.student, made.processor, sample, made.tokens, made.config, {})
    assert {"without_subtitles/accuracy", "with_subtitles/right_letter"} <= set(scores)
    assert not any("zeroed" in name for name in scores)
