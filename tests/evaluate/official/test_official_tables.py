"""The official tables of the golden sets, text for text, and the numbers behind them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.answer_rules.question import Question, labelled
from sg.artefacts.answer_rules.rules import RULES
from sg.artefacts.answer_rules.tempcompass import TASKS, parts_of
from sg.artefacts.answers import read_letter_v2
from sg.artefacts.predictions import Prediction
from sg.core.errors import DataError
from sg.evaluate.benchmarks.lvbench import text_and_options
from sg.evaluate.benchmarks.tempcompass import fine_type
from sg.evaluate.official.lvbench import type_table
from sg.evaluate.official.mvbench import task_mean_table, task_table
from sg.evaluate.official.tempcompass import dimension_tables
from sg.evaluate.official.video_mme_v2 import group_table
from tests.evaluate.golden_benchmarks import GOLDENS, answered, golden, group_questions, group_rows, letter_of

OUTPUT = Path("DIR/res")
SETS = [(size, name) for size in ("full", "small") for name in golden(f"video_mme_v2/results_{size}.expected.json")]


def group_answers(questions: Any, responses: list[str | None]) -> list[Prediction]:
    return [
        answered(question, video, level, response, RULES["video_mme_v2"])
        for (question, video, level), response in zip(questions, responses, strict=True)
    ]


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-9) and list(found[name]) == list(values)


@pytest.mark.parametrize(("size", "name"), SETS)
def test_a_golden_set_of_video_mme_v2_prints_and_rates_as_officially(size: str, name: str) -> None:
    expected = golden(f"video_mme_v2/results_{size}.expected.json")[name]
    questions = group_questions("dataset" if size == "full" else "dataset_small")
    rows = group_answers(questions, golden(f"video_mme_v2/results_{size}.responses.json")[name])
    (result,) = group_table(rows, OUTPUT)
    assert result.text == expected["stdout"]
    same(result.files["rating.json"], expected["rating"])
    assert "".join({1: "1", 0: "0", -1: "-"}[row.official_score] for row in rows) == expected["scores"]
    # lmms-eval counts unanswered questions as wrong, and reads no table, so it reads a letter from `NA`.
    read = {row.question_id: read_letter_v2(row.response) for row in rows}
    (result,) = group_table([replace(row, letter=read[row.question_id]) for row in rows])
    strict = golden("video_mme_v2/lmms_eval_2026_08.expected.json")[f"{size}/{name}"]["overall_score"]
    assert result.strict == pytest.approx(strict, abs=1e-9)


def quirk_rows(case: dict[str, Any]) -> list[Prediction]:
    """The rows of a quirk; the golden names the heads of its groups only in the rating."""
    questions: list[tuple[Question, str, str]] = []
    rating = case.get("rating", {"second_head_rating": ["x"], "third_head_rating": ["x"]})
    heads = [["None" if name == "NaN" else name for name in rating[key]] for key in list(rating)[-2:]]
    for at, (group, answer) in enumerate(zip(case["groups"], case["answers"], strict=True)):
        second, third = (names[min(at // 4, len(names) - 1)] for names in heads)
        structure, kind = group["group_structure"], group["group_type"]
        questions += group_rows(str(at // 4), kind, structure, answer, [group["level"]], [second], [third])
    return group_answers(questions, case["predictions"])


@pytest.mark.parametrize("case", golden("video_mme_v2/quirks.json"), ids=lambda case: case["name"])
def test_every_quirk_of_video_mme_v2_gives_the_official_numbers_or_says_that_the_script_stops(case: Any) -> None:
    rows = quirk_rows(case)
    if case["name"] == "level_none_last":  # The script stops; we score the group, which is of no level.
        (result,) = group_table(rows)
        assert (result.value, result.files["rating.json"]["final_rating"]["level_3"]) == (100.0, 0.0)
    elif "error" in case:
        with pytest.raises(DataError, match=r"groups of 4 questions|has the task type"):
            group_table(rows)
    else:
        (result,) = group_table(rows, OUTPUT)
        same(result.files["rating.json"], case["rating"])
        assert result.text == case["stdout"]


def test_a_model_that_answers_nothing_gets_its_strict_score_beside_the_official_one() -> None:
    rows = group_answers(group_questions("dataset"), [""] * 3200)
    (result,) = group_table(rows)
    assert result.headline == ("group score 43.25 %; 0.00 % if answers that choose no option count as wrong (3,200)")


@pytest.mark.parametrize("name", golden("mvbench/results_full.expected.json"))
def test_a_golden_set_of_mvbench_prints_and_scores_as_officially(name: str) -> None:
    expected = golden("mvbench/results_full.expected.json")[name]
    items = [(task, item) for task, table in golden("mvbench/dataset.json").items() for item in table["items"]]
    rows = []
    for number, ((task, item), response) in enumerate(
        zip(items, golden("mvbench/results_full.responses.json")[name], strict=True)
    ):
        letter = letter_of(item["candidates"], item["answer"])
        question = Question(str(number), task, item["question"], labelled(item["candidates"]), letter)
        rows.append(answered(question, item["video"], "all", response, RULES["mvbench"]))
    (result,) = task_table(rows)
    assert result.text.splitlines() == expected["last_lines"]
    assert result.files["upload_leaderboard.json"] == expected["final_res"]
    if name == "half_silent":
        assert (result.value, result.strict < 26, result.lucky) == (pytest.approx(75.7), True, result.unanswered)


def test_the_score_of_mlvu_is_the_mean_over_tasks() -> None:
    one, two = (Question(str(at), f"task {at}", "", labelled("ab"), "A") for at in (1, 2))
    rows = [answered(one, "v", "short", text, RULES["mlvu"]) for text in ("A", "A", "A", "B")]
    (result,) = task_mean_table([*rows, answered(two, "w", "short", "B", RULES["mlvu"])])
    assert (result.metric, result.value) == ("M-Avg", 37.5)
    assert "'Avg': 60.0" in result.text


@pytest.mark.parametrize("task", TASKS)
def test_a_golden_set_of_tempcompass_prints_and_rates_as_officially(task: str) -> None:
    expected, meta = golden("tempcompass/results.expected.json")[task], golden("tempcompass/meta_info.json")
    rows, ratings = [], []
    for video, dims in golden(f"tempcompass/predictions.{task}.json").items():
        for dim, items in dims.items():
            for at, item in enumerate(items):
                text, options, letter = parts_of(task, item["question"], item["answer"])
                kind = fine_type(meta, video, dim)
                question = Question(f"{video}-{dim}-{at}", dim, text, options, letter, task, kind)
                response = item["prediction"] if "prediction" in item else item["response"]
                rows.append(answered(question, video, "all", response or "", RULES["tempcompass"]))
                ratings.append([rows[-1].official_score, rows[-1].letter != ""])
    (result,) = dimension_tables(rows)
    assert (result.part, result.text) == (task, expected["stdout"])
    assert ratings == [rating for dims in expected["ratings"].values() for items in dims.values() for rating in items]


def lvbench_rows(answers: dict[str, str | None], rule: str = "lvbench_exact") -> list[Prediction]:
    rows = []
    for line in (GOLDENS / "lvbench" / "video_info.meta.jsonl").read_text().splitlines():
        video = json.loads(line)
        for item in video["qa"]:
            text, options = text_and_options(item["question"])
            question = Question(str(item["uid"]), ", ".join(item["question_type"]), text, options, item["answer"])
            response = (answers[question.question_id] or "") if question.question_id in answers else None
            rows.append(answered(question, video["key"], "long", response, RULES[rule]))
    return rows


@pytest.mark.parametrize("name", golden("lvbench/results.expected.json"))
def test_a_golden_set_of_lvbench_prints_and_scores_as_officially(name: str) -> None:
    expected = golden("lvbench/results.expected.json")[name]
    (result,) = type_table(lvbench_rows(golden("lvbench/answers.json")[name]))
    assert result.text == expected["printed"] + "\n"
    assert result.files["result.json"] == pytest.approx(expected["result_json"], abs=1e-9)
    assert result.value == pytest.approx(100 * expected["accuracy"]["acc"])


def test_the_result_file_of_lvbench_is_the_official_one() -> None:
    expected = golden("lvbench/test_acc.expected.json")
    (result,) = type_table(lvbench_rows(golden("lvbench/answers.json")["letters"]))
    assert json.loads(expected["result_json_text"]) == result.files["result.json"]
    assert expected["stdout"].startswith(result.text)


def test_quirks_of_lvbench_are_kept() -> None:
    for case in golden("lvbench/quirks.json"):
        if case["name"] in ("no_answers", "only_unknown"):  # The script divides by zero.
            (result,) = type_table(lvbench_rows(case["answers"]))
            assert (result.value, result.text) == (0.0, "defaultdict(<class 'int'>, {})\n")
        else:
            types = {"7": "key information retrieval, event understanding", "8": ""}
            asked = {uid: Question(uid, types[uid], "", labelled("abcd"), "A") for uid in types}
            rule = RULES["lvbench_exact"]
            rows = [answered(asked[uid], "v", "long", answer, rule) for uid, answer in case["answers"].items()]
            (result,) = type_table(rows)
            assert result.text == f"defaultdict(<class 'int'>, {case['result']})\n"
