"""`sg export`: what it writes is read back with equal weights and equal scores."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sg.artefacts.predictions import WITH_SUBTITLES, WITHOUT_SUBTITLES, Prediction, PredictionWriter
from sg.core.errors import ConfigError, DataError
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.file_report import read_and_report
from sg.evaluate.run import publish
from sg.export.__main__ import export, export_answers
from sg.export.config import ExportConfig
from sg.models.chat_univi.build import build_inputs, build_model
from sg.models.chat_univi.published.checkpoint import load_reference_checkpoint
from tests.evaluate.golden_benchmarks import answered
from tests.evaluate.test_benchmarks import long_video, mlvu
from tests.evaluate.test_file_report import logged_rows, lvbench, video_mme
from tests.evaluate.test_more_benchmarks import mv_item, mvbench, tempcompass, v2, v2_rows
from tests.study.test_evaluation import MODEL

Maker = Callable[[Path], BenchmarkConfig]


def two_tasks(folder: Path) -> BenchmarkConfig:
    """MVBench with two questions about one video, which are not neighbours in the table of their task."""
    items = [mv_item(question=f"What {at}?", video=f"{at % 2}.mp4") for at in range(4)]
    return mvbench(folder, {"action_count": items, "state_change": items[:2]})


MAKERS: dict[str, Maker] = {
    "video_mme": lambda folder: video_mme(folder, logged_rows()),
    "video_mme_v2": lambda folder: v2(folder, v2_rows("001") + v2_rows("002", group_type="relevance")),
    "mvbench": two_tasks,
    "tempcompass": tempcompass,
    "lvbench": lvbench,
    "mlvu": mlvu,
    "longvideobench": lambda folder: long_video(folder, duration_group=15),
}


def answers_in(folder: Path, config: BenchmarkConfig) -> tuple[Path, list[Prediction]]:
    """A file of answers to all questions: letters, texts behind letters, and silence."""
    benchmark, rows = read_benchmark(config), []
    for video in benchmark.videos:
        for question in video.questions:
            at = len(rows)
            letter = question.letters[at % len(question.letters)]
            response = ("", letter, f"{letter}) because", f"{letter}. {question.option_texts[0]}", question.options[0])[
                at % 5
            ]
            rows.append(answered(question, video.video_id, video.duration, response, config.rule))
    domains = {video.video_id: (video.domain, video.sub_category) for video in benchmark.videos}
    rows = [replace(row, domain=row.domain or domains[row.video_id][0]) for row in rows]
    path = folder / "predictions.jsonl"
    with PredictionWriter(path, "test") as writer:
        writer.write(rows)
    return path, rows


def scores(rows: list[Prediction]) -> dict[str, int]:
    return {row.question_id: row.official_score for row in rows}


@pytest.mark.parametrize("name", MAKERS)
def test_official_files_are_read_back_with_equal_scores(name: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    config = MAKERS[name](tmp_path / "own")
    path, rows = answers_in(tmp_path, config)
    files = export_answers(ExportConfig(predictions=str(path), benchmark=config, out="out"), tmp_path / "out")
    back = [
        row for file in files for report in read_and_report(file, config) for row in report.rows if row.status == "ok"
    ]
    assert {row.question_id for row in back} == {row.question_id for row in rows}
    # The file of LVBench has letters: a response without one is a wrong answer there too.
    assert scores(back) == scores(rows)
    # An evaluation leaves the same files beside its answers.
    publish(read_benchmark(config), config, path)
    assert {file.name for file in files} <= {file.name for file in tmp_path.iterdir()}
    assert all((tmp_path / file.name).read_bytes() == file.read_bytes() for file in files)


def test_the_files_of_two_settings_have_two_names_and_are_read_as_such(tmp_path: Path) -> None:
    for name in ("video_mme", "video_mme_v2", "longvideobench"):
        folder = tmp_path / name
        (folder / "own").mkdir(parents=True)
        config = MAKERS[name](folder / "own")
        path, rows = answers_in(folder, config)
        with PredictionWriter(path, rows[0].made_by) as writer:
            writer.write(replace(row, setting=WITH_SUBTITLES) for row in rows)
        files = export_answers(ExportConfig(predictions=str(path), benchmark=config, out="out"), folder / "out")
        found = {row.setting for file in files for report in read_and_report(file, config) for row in report.rows}
        assert len(files) == 2 and found == {WITHOUT_SUBTITLES, WITH_SUBTITLES}, name


@pytest.mark.parametrize("name", ["video_mme", "mvbench", "mlvu", "longvideobench"])
def test_logs_of_lmms_eval_are_read_back_with_equal_scores(name: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    config = MAKERS[name](tmp_path / "own")
    path, rows = answers_in(tmp_path, config)
    settings = ExportConfig(predictions=str(path), benchmark=config, out="out", format="lmms_eval")
    *logs, results = export_answers(settings, tmp_path / "out")
    reports = [report for log in logs for report in read_and_report(log, config)]
    assert scores([row for report in reports for row in report.rows]) == scores(rows)
    assert all("its own score" in report.text and "the two differ" not in report.text for report in reports)
    assert len(json.loads(results.read_text())["results"]) == len(logs) == (2 if name == "mvbench" else 1)


def test_a_benchmark_without_a_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    config = lvbench(tmp_path / "own")
    path, _ = answers_in(tmp_path, config)
    settings = ExportConfig(predictions=str(path), benchmark=config, out="out", format="lmms_eval")
    with pytest.raises(ConfigError, match=r"format=lmms_eval is known for .*, not for lvbench: use format=official"):
        export_answers(settings, tmp_path / "out")


def test_a_checkpoint_is_exported_bit_for_bit_with_its_tokenizer(tmp_path: Path) -> None:
    model = build_model(MODEL)
    model.save_pretrained(tmp_path / "checkpoint")
    out = tmp_path / "out"
    settings = ExportConfig(checkpoint=str(tmp_path / "checkpoint"), model=MODEL, out=str(out))
    export(settings)
    back = load_reference_checkpoint(out).state_dict()
    assert {name: torch.equal(value, back[name]) for name, value in model.state_dict().items()} == dict.fromkeys(
        back, True
    )
    own, exported = build_inputs(MODEL), build_inputs(replace(MODEL, tokenizer=str(out)))
    assert own.question("A red square?", None) == exported.question("A red square?", None)
    assert json.loads((out / "config.json").read_text())["model_type"] == "ChatUniVi"
    with pytest.raises(DataError, match="exists and is not empty"):
        export(settings)


def test_one_of_checkpoint_and_predictions_is_given() -> None:
    for given in ({}, {"checkpoint": "a", "predictions": "b"}):
        with pytest.raises(ConfigError, match="takes one of checkpoint"):
            ExportConfig(out="out", **given)
    with pytest.raises(ConfigError, match="lmms_eval"):
        ExportConfig(predictions="a", out="out", format="lmms-eval")
