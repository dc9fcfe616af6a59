"""Every golden log of lmms-eval: letters, scores and the harness' own number, in all forms since 2024."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.answer_files.look import read_answer_file, read_answer_folder
from sg.artefacts.answer_files.record import AnswerFile, predictions_of
from sg.core.errors import DataError
from tests.evaluate.golden_benchmarks import GOLDENS, golden

LOGS = GOLDENS / "lmms_eval_logs"
EXPECTED = golden("lmms_eval_logs/expected.json")


def log(name: str) -> AnswerFile:
    found = read_answer_file(LOGS / name)
    assert isinstance(found, AnswerFile)
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_a_golden_log_is_read_as_the_harness_wrote_it(name: str) -> None:
    expected, found = EXPECTED[name], log(name)
    assert (found.writer, found.task, len(found.answers)) == ("lmms-eval", expected["task"], expected["n"])
    rows = {int(row[0]): row for row in expected["reading"]}
    for number, answer in enumerate(found.answers):
        doc_id = json_lines(LOGS / name)[number]["doc_id"]
        _, identity, predicted, right, is_correct = rows[doc_id]
        assert (answer.read or predicted, answer.question.answer, answer.score) == (predicted, right, float(is_correct))
        assert identity == (answer.question.question_id if answer.row is None else str(answer.row))
    assert sum(answer.score or 0 for answer in found.answers) == expected["correct"]
    assert found.harness is not None
    factor = 100 if found.benchmark == "longvideobench" else 1
    value = next(value for key, value in expected["harness_metrics"].items() if "stderr" not in key)
    assert found.harness.value == pytest.approx(factor * value, abs=1e-3 if factor == 100 else 1e-9)
    if (LOGS / name).parent.joinpath(f"{Path(name).name[:15]}_results.json").is_file():
        assert found.harness.recorded == pytest.approx(factor * value)
    assert len(predictions_of(found)) == expected["n"]


def json_lines(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json":
        return json.loads(path.read_text())["logs"]
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_setting_follows_from_the_task_and_from_the_prompts() -> None:
    folder = "run_2026_08/synthetic__vlm-7b/20260811_093012_samples"
    settings = {
        name: log(f"{folder}_{name}.jsonl").setting
        for name in ("videomme", "videomme_w_subtitle", "longvideobench_val_v", "longvideobench_val_i")
    }
    assert list(settings.values()) == ["without_subtitles", "with_subtitles"] * 2


def test_a_log_with_another_name_is_read_by_its_content(tmp_path: Path) -> None:
    source = LOGS / "run_2026_08/synthetic__vlm-7b/20260811_093012_samples_videomme_w_subtitle.jsonl"
    copy = tmp_path / "my answers.txt"
    copy.write_bytes(source.read_bytes())
    found = read_answer_file(copy)
    assert isinstance(found, AnswerFile)
    assert (found.benchmark, found.setting, found.harness and found.harness.recorded) == (
        "video_mme", "with_subtitles", None,
    )  # fmt: skip


def test_a_partial_run_is_named() -> None:
    found = log("run_2026_08_limit/synthetic__vlm-7b/20260812_120000_samples_videomme.jsonl")
    assert found.harness is not None and found.harness.partial == (10, 72)


def test_an_unreadable_reply_to_longvideobench_is_wrong_and_not_random() -> None:
    found = log("run_2026_08/synthetic__vlm-7b/20260811_093012_samples_longvideobench_val_v.jsonl")
    silent = [answer for answer in found.answers if answer.response == ""]
    assert silent and all(answer.read for answer in silent)
    rows = {row.question_id: row for row in predictions_of(found)}
    assert {rows[answer.question.question_id].official_score for answer in silent} == {0}


def test_a_folder_of_a_run_is_one_file_per_benchmark_and_setting() -> None:
    (found,) = read_answer_folder(LOGS / "run_2026_08_mvbench_group/synthetic__vlm-7b")
    assert (found.benchmark, len(found.answers)) == ("mvbench", 120)
    files = read_answer_folder(LOGS / "run_2026_08/synthetic__vlm-7b")
    assert sorted((file.benchmark, file.setting) for file in files) == [
        ("longvideobench", "with_subtitles"), ("longvideobench", "without_subtitles"), ("mlvu", "without_subtitles"),
        ("mvbench", "without_subtitles"), ("video_mme", "with_subtitles"), ("video_mme", "without_subtitles"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="holds no sample logs"):
        read_answer_folder(GOLDENS)


SAMPLE: dict[str, Any] = {
    "doc_id": 0, "target": "A", "filtered_resps": "A.",
    "videomme_perception_score": {"question_id": "001-1", "duration": "short", "pred_answer": "A", "answer": "A"},
}  # fmt: skip


def metric(**changes: Any) -> dict[str, Any]:
    return SAMPLE | {"videomme_perception_score": SAMPLE["videomme_perception_score"] | changes}


def choice_sample(number: int, **changes: Any) -> dict[str, Any]:
    return {"doc_id": number, "filtered_resps": "A", "mvbench_accuracy": {"gt_answer": "A", "score": 1} | changes}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([SAMPLE, "{"], "line 2, is not JSON .* damaged or cut off"),
        ([SAMPLE, "[]"], "line 2, is not a sample of lmms-eval"),
        ([SAMPLE, {"doc_id": 1, "filtered_resps": "A", "acc": 1}], "line 2, has none of the metrics videomme_percep"),
        (
            [SAMPLE, SAMPLE | {"filtered_resps": "B"}],
            "answers question 001-1 twice and differently",
        ),
        ([SAMPLE | {"filtered_resps": None}], "has None as 'filtered_resps'"),
        ([SAMPLE | {"filtered_resps": ["A", "B"]}], r"has \['A', 'B'\] as 'filtered_resps'"),
        ([metric(answer=1)], "has 1 as 'answer' of its metric"),
        ([metric(answer="E")], "has 'E' as right answer"),
        ([metric(pred_answer=None)], "has None as 'pred_answer'"),
        (
            [SAMPLE, {"doc_id": 1, "filtered_resps": "A", "mvbench_accuracy": {"gt_answer": "A", "score": 1}}],
            "mixes samp",
        ),
        (
            [{"doc_id": -1, "filtered_resps": "A", "mvbench_accuracy": {"gt_answer": "A", "score": 1}}],
            "has -1 as 'doc_id'",
        ),
        (
            [{"doc_id": 1, "filtered_resps": "A", "mvbench_accuracy": {"gt_answer": "A", "score": 2}}],
            "has 2 as 'score'",
        ),
    ],
)
def test_a_log_with_other_content_is_refused_in_one_sentence(lines: list[Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "20260101_000000_samples_videomme.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    with pytest.raises(DataError, match=message) as caught:
        read_answer_file(path)
    assert "\n" not in str(caught.value)


def test_equal_lines_of_a_repeated_run_count_once(tmp_path: Path) -> None:
    path = tmp_path / "samples_videomme.jsonl"
    path.write_text(f"{json.dumps(SAMPLE)}\n{json.dumps(SAMPLE)}\n")
    found = read_answer_file(path)
    assert isinstance(found, AnswerFile) and len(found.answers) == 1
