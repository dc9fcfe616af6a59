import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.result import answers_record, read_answers_of, read_result, write_result
from sg.core.errors import DataError, MissingInputError
from sg.report.numbers.study import read_study

from ..study_builder import World, write_study


def test_runs_are_grouped_into_arms_by_scale_and_control(tmp_path: Path) -> None:
    write_study(tmp_path / "study", videos=9, seeds=2)
    study = read_study(tmp_path / "study")
    assert [arm.name for arm in study.headline] == ["0", "50k", "100k", "200k", "400k", "530k"]
    assert [arm.name for arm in study.controls] == ["50k/equal_steps", "100k/random"]
    assert [[run.seed for run in arm.runs] for arm in study.headline[:2]] == [[0, 1], [0, 1]]
    assert study.headline[5].correct["without_subtitles"].shape == (2, 27)
    assert study.baseline is study.headline[0]


def test_a_failed_run_is_kept_with_its_reason(tmp_path: Path) -> None:
    write_study(tmp_path / "study", videos=9, seeds=2)
    arm = read_study(tmp_path / "study").headline[4]
    assert [run.seed for run in arm.runs] == [0]
    assert arm.failed[0].reason.startswith("CUDA out of memory")


def test_a_run_that_was_killed_or_left_a_broken_result_is_a_failed_run(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    world.run(0)
    (tmp_path / "study" / "killed" / ".hydra").mkdir(parents=True)
    (tmp_path / "study" / "killed" / "run.log").write_text("stage align: training\nstage caption: 12 of 320 steps\n\n")
    broken = world.run(50_000)
    (broken / "result.json").write_text("{")
    study = read_study(tmp_path / "study")
    failed = {run.run: run.reason for run in study.runs if not run.is_finished}
    assert failed["killed"].startswith("left no result (last line of its log: stage caption: 12 of 320 steps)")
    assert "JSON" in failed[broken.name]
    assert [arm.name for arm in study.headline] == ["0"]


def test_other_folders_are_not_runs(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=9).run(0)
    for name in ("report", "wandb"):
        (tmp_path / "study" / name).mkdir()
    assert len(read_study(tmp_path / "study").runs) == 1


def test_a_run_without_predictions_keeps_its_scores_and_is_noted(tmp_path: Path) -> None:
    path = World(tmp_path / "study", videos=9).run(0)
    (path / "predictions.jsonl").unlink()
    study = read_study(tmp_path / "study")
    assert study.headline[0].correct == {}
    assert "no intervals" in study.notes[0]


def test_answers_other_than_those_of_the_result_are_not_scored(tmp_path: Path) -> None:
    path = World(tmp_path / "study", videos=9).run(0)
    result = read_result(path)
    write_result(path, replace(result, answers=answers_record(read_answers_of(path, result), result.scores)))
    assert read_study(tmp_path / "study").headline[0].correct["without_subtitles"].shape == (1, 27)
    file = path / "predictions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:10]))
    study = read_study(tmp_path / "study")
    assert study.headline[0].correct == {}
    assert "10 of the 27 answers" in study.notes[0]


def test_a_second_run_of_the_same_scale_and_seed_is_left_out_and_noted(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    first = world.run(50_000)
    first.rename(first.with_name("a first one"))
    world.run(50_000)
    study = read_study(tmp_path / "study")
    assert len(study.headline[0].runs) == 1
    assert "a first one" in study.notes[0]


def test_unanswered_questions_are_not_counted_as_wrong(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=30, silent=0.3)
    world.run(0)
    correct = read_study(tmp_path / "study").headline[0].correct["without_subtitles"]
    assert 0.15 < np.isnan(correct).mean() < 0.45


def test_probes_may_be_asked_of_one_seed_only(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    world.run(50_000, 0)
    world.run(50_000, 1, settings=("without_subtitles", "with_subtitles"))
    correct = read_study(tmp_path / "study").headline[0].correct
    assert correct["without_subtitles"].shape[0] == 2
    assert correct["zeroed_video"].shape[0] == 1


def test_two_benchmarks_in_one_folder_are_refused(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=9).run(0)
    World(tmp_path / "study", videos=9, benchmark="video_mme").run(50_000)
    with pytest.raises(DataError, match="mixes the benchmarks demo, video_mme"):
        read_study(tmp_path / "study")


def test_a_question_with_two_right_answers_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    world.run(0)
    path = world.run(50_000) / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["answer"] = "ABCD".replace(rows[0]["answer"], "")[0]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="different benchmarks"):
        read_study(tmp_path / "study")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_an_empty_or_missing_folder_is_refused_with_the_next_command(tmp_path: Path, make: object) -> None:
    make(tmp_path / "study")  # type: ignore[operator]
    with pytest.raises(MissingInputError, match="study"):
        read_study(tmp_path / "study")
