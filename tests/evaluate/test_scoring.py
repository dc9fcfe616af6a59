import json
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.answer_files.look import read_answer_file
from sg.artefacts.answer_files.record import predictions_of
from sg.artefacts.predictions import UNDECODABLE, Prediction
from sg.core.errors import DataError
from sg.evaluate.official.video_mme import official_table
from sg.evaluate.scoring import score, score_setting

GOLDENS = Path(__file__).parents[1] / "goldens" / "video_mme"
RESULTS: dict[str, Any] = json.loads((GOLDENS / "results_full.json").read_text())
EXPECTED: dict[str, Any] = json.loads((GOLDENS / "results_full.expected.json").read_text())
QUIRKS: dict[str, Any] = json.loads((GOLDENS / "cli_quirks.json").read_text())
DURATIONS = ["short", "medium", "long"]


def result_file(scenario: str, folder: Path) -> Path:
    videos = json.loads(json.dumps(RESULTS["videos"]))
    questions = [question for video in videos for question in video["questions"]]
    for question, response in zip(questions, RESULTS["responses"][scenario], strict=True):
        question["response"] = response
    path = folder / "results.json"
    path.write_text(json.dumps(videos))
    return path


def read_submission(path: Path) -> list[Prediction]:
    found = read_answer_file(path)
    assert not isinstance(found, list)
    return predictions_of(found)


@pytest.mark.parametrize("scenario", EXPECTED)
def test_the_table_equals_the_output_of_the_official_script(scenario: str, tmp_path: Path) -> None:
    rows = read_submission(result_file(scenario, tmp_path))
    assert official_table(rows, DURATIONS) == EXPECTED[scenario]["stdout"]


@pytest.mark.parametrize("scenario", EXPECTED)
def test_counts_of_every_bucket_and_category_equal_the_official_ones(scenario: str, tmp_path: Path) -> None:
    scores = score_setting(read_submission(result_file(scenario, tmp_path)))
    for name, expected in EXPECTED[scenario]["counts_correct_answered_total"].items():
        bucket = scores.buckets[name]
        overall = bucket.overall
        assert [overall.correct, overall.answered, overall.total] == expected["overall"]["Overall"]
        for breakdown in ("domain", "sub_category", "task_type"):
            counts = {key: [c.correct, c.answered, c.total] for key, c in getattr(bucket, breakdown).items()}
            assert counts == expected[breakdown]


@pytest.mark.parametrize("argument", ["short", "medium,long", "long,short"])
def test_the_table_of_some_durations_equals_the_output_of_the_official_script(argument: str, tmp_path: Path) -> None:
    rows = read_submission(result_file("letters", tmp_path))
    assert official_table(rows, argument.split(","), breakdowns=False) == QUIRKS[argument]["stdout"]


def test_unanswered_hard_questions_raise_the_official_score_but_not_the_strict_one(tmp_path: Path) -> None:
    overall = score_setting(read_submission(result_file("silent_long_only", tmp_path))).buckets["overall"].overall
    assert f"{overall.accuracy:.1f}" == "42.8"
    assert f"{overall.strict_accuracy:.1f}" == "29.9"


def row(question_id: str, letter: str, answer: str = "A", **more: Any) -> Prediction:
    values = {"setting": "without_subtitles", "video_id": "001", "duration": "short"} | more
    return Prediction(question_id=question_id, letter=letter, answer=answer, **values)


def test_letters_answers_and_statuses_are_counted() -> None:
    failed = row("4", "", status=UNDECODABLE, reason="broken")
    scores = score([row("1", "A"), row("2", "A", "C"), row("3", ""), failed])["without_subtitles"]
    assert scores.letters == {"A": 2, "B": 0, "C": 0, "D": 0, "": 2}
    assert scores.answers == {"A": 3, "B": 0, "C": 1, "D": 0}
    assert scores.statuses == {"ok": 3, "undecodable": 1}
    assert scores.percentages() == {"overall": 50.0, "short": 50.0}


def test_each_setting_is_scored_on_its_own() -> None:
    scores = score([row("1", "A"), row("1", "B", setting="with_subtitles")])
    assert {name: value.percentages()["overall"] for name, value in scores.items()} == {
        "without_subtitles": 100.0,
        "with_subtitles": 0.0,
    }


def test_a_bucket_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no questions of duration 'long'"):
        score([row("1", "A")], ["long"])


def test_an_empty_list_of_predictions_is_refused() -> None:
    with pytest.raises(DataError, match="no predictions to score"):
        score([])


def test_a_benchmark_with_its_own_categories_lists_those() -> None:
    rows = [row("1", "A", domain="indoor", sub_category="room", task_type="order")]
    table = official_table(rows)
    assert "order:  100.0%" in table
    assert "Knowledge" not in table
