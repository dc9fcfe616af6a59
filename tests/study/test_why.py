"""`why=true`: what is reused or made again, and which setting, input or version differs, on five cases."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import sg.train.stage
from sg.artefacts.predictions import read_predictions
from sg.artefacts.result import PREDICTIONS_FILE, read_result
from sg.core.errors import DataError, MissingInputError
from sg.core.identity import Change
from sg.study.config import TrainConfig
from sg.study.planning.steps import StepReport
from sg.study.planning.why import explain_run, print_why, run_folder
from tests.study.pictures import BROKEN, VIDEOS, config_of, run, write_data, write_picture, write_texts

STAGES = ("stage align", "stage caption", "stage instruct")
RESULTS = ("evaluation", "result")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; one of its 20 videos cannot be read and was left out."""
    folder = tmp_path_factory.mktemp("finished")
    write_data(folder)
    run(config_of(folder))
    return folder


@pytest.fixture
def lab(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run in another folder."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def why(config: TrainConfig) -> dict[str, StepReport]:
    return {report.step: report for report in explain_run(config, run_folder(config))}


def actions(reports: dict[str, StepReport]) -> dict[str, str]:
    return {step: report.action for step, report in reports.items() if report.action != "reused"}


def test_a_moved_folder_changes_nothing(lab: Path) -> None:
    reports = why(config_of(lab))
    assert actions(reports) == {}
    assert list(reports) == [
        "manifest", "captions", "vectors", "merge forest", "visual tokens", *STAGES, *RESULTS,
    ]  # fmt: skip
    before = read_result(run_folder(config_of(lab)))
    run(config_of(lab))
    assert read_result(run_folder(config_of(lab))) == before


def test_another_learning_rate_is_named_with_both_values(lab: Path) -> None:
    reports = why(config_of(lab, "stage.caption.learning_rate=0.5"))
    assert actions(reports) == dict.fromkeys([*STAGES[1:], *RESULTS], "made again")
    assert reports["stage caption"].changes == (Change("settings.stage.learning_rate", 1e-3, 0.5),)
    assert reports["stage caption"].compared_with is not None
    (change,) = reports["stage instruct"].changes
    assert change.key == "inputs.parent"
    assert [change.key for change in reports["evaluation"].changes] == ["inputs.model"]
    assert "inputs.stages.caption" in [change.key for change in reports["result"].changes]


def test_changed_captions_are_named(lab: Path) -> None:
    write_texts(lab, "a green square")
    reports = why(config_of(lab))
    assert actions(reports) == dict.fromkeys([*STAGES[1:], *RESULTS], "made again")
    assert [change.key for change in reports["stage caption"].changes] == ["inputs.captions"]


def test_a_repaired_video_file_is_named_and_counted(lab: Path) -> None:
    write_picture(lab / "media" / f"{BROKEN}.png", BROKEN)
    reports = why(config_of(lab))
    assert actions(reports) == {"visual tokens": "resumed"} | dict.fromkeys([*STAGES[1:], *RESULTS], "made again")
    assert "1 clips are new or replaced" in reports["visual tokens"].note
    changes = {change.key: (change.before, change.now) for change in reports["stage caption"].changes}
    assert changes["inputs.samples"] == (VIDEOS - 1, VIDEOS)
    assert changes["inputs.media.clips"] == (VIDEOS - 1, VIDEOS)
    run(config_of(lab))
    assert actions(why(config_of(lab))) == {}


def test_a_subtitle_or_video_of_the_benchmark_that_comes_later_is_asked_again(lab: Path) -> None:
    config, benchmark = config_of(lab), lab / "benchmark"
    video = min((benchmark / "videos").iterdir())
    (benchmark / "subtitle").mkdir()
    (benchmark / "subtitle" / f"{video.stem}.srt").write_text("1\n00:00:00,100 --> 00:00:03,900\nred square B\n")
    reports = why(config)
    assert actions(reports) == dict.fromkeys(RESULTS, "made again")
    assert [change.key for change in reports["evaluation"].changes] == ["inputs.subtitles"]
    run(config)
    rows = read_predictions(run_folder(config) / PREDICTIONS_FILE, "with_subtitles")
    assert {row.subtitles for row in rows if row.tokens_of == video.stem} == {"ok"}
    moved = video.rename(benchmark / "elsewhere.mp4")
    assert [change.key for change in why(config)["evaluation"].changes] == ["inputs.videos"]
    run(config)
    rows = read_predictions(run_folder(config) / PREDICTIONS_FILE)
    assert {row.status for row in rows} == {"ok", "missing_video"}
    moved.rename(video)
    (benchmark / "videos").rename(benchmark / "data")
    run(config)
    rows = read_predictions(run_folder(config) / PREDICTIONS_FILE)
    assert {row.status for row in rows} == {"ok"}


def test_a_benchmark_without_a_video_that_can_be_shown_is_an_error_before_training(lab: Path) -> None:
    config, benchmark = config_of(lab, "stage.align.learning_rate=0.5"), lab / "benchmark"
    stages = sorted((lab / "work" / "stages").iterdir())
    (benchmark / "videos").rename(benchmark / "elsewhere")
    with pytest.raises(
        MissingInputError, match=r"None of the 3 videos of benchmark 'demo' has a file in .*benchmark\.folder"
    ):
        run(config)
    (benchmark / "elsewhere").rename(benchmark / "videos")
    for video in (benchmark / "videos").iterdir():
        video.write_bytes(b"not a video")
    with pytest.raises(DataError, match="None of the 3 videos of benchmark 'demo' can be read, such as"):
        run(config)
    assert sorted((lab / "work" / "stages").iterdir()) == stages


def test_a_raised_version_is_named(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sg.train.stage.TRAINING_VERSION
    monkeypatch.setattr(sg.train.stage, "TRAINING_VERSION", before + 1)
    reports = why(config_of(lab))
    assert actions(reports) == dict.fromkeys([*STAGES, *RESULTS], "made again")
    assert reports["stage align"].changes == (Change("version", before, before + 1),)


def test_other_tokens_and_an_interrupted_stage_are_reported(lab: Path) -> None:
    assert why(config_of(lab, "model.max_frames=8"))["visual tokens"].changes == (Change("settings.max_frames", 64, 8),)
    (stage,) = (lab / "work" / "stages").glob("caption-*/stage.json")
    stage.unlink()
    (stage.parent / "resume").mkdir()
    (stage.parent / "resume" / "step=1.ckpt").touch()
    assert why(config_of(lab))["stage caption"].action == "resumed"


def test_json_holds_the_same_record_with_its_schema(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_why([config_of(lab, "stage.caption.learning_rate=0.5", "format=json")])
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (record["kind"], record["schema"]) == ("why", 1)
    (found,) = record["runs"]
    assert found["run"] == "all-seed0"
    steps = {step["step"]: step for step in found["steps"]}
    assert steps["stage caption"]["changes"] == [{"key": "settings.stage.learning_rate", "before": 1e-3, "now": 0.5}]
    print_why([config_of(lab, "stage.caption.learning_rate=0.5")])
    text = capsys.readouterr().out
    assert "settings.stage.learning_rate: 0.001 -> 0.5" in text
