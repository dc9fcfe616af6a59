"""Files of other programs against a benchmark: matching, both scores, and where they differ."""

import ast
import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sg.artefacts.predictions import Prediction
from sg.core.errors import DataError, MissingInputError
from sg.evaluate.benchmarks.lvbench import LvbenchConfig
from sg.evaluate.benchmarks.mlvu import MlvuConfig
from sg.evaluate.benchmarks.mvbench import MvbenchConfig
from sg.evaluate.benchmarks.tempcompass import TempCompassConfig
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.file_report import FileReport, read_and_report
from tests.evaluate.golden_benchmarks import GOLDENS, golden
from tests.evaluate.test_more_benchmarks import tempcompass, v2, v2_rows

LOGS, TABLES = GOLDENS / "lmms_eval_logs", GOLDENS / "vlmevalkit_tables"
RUN = LOGS / "run_2026_08" / "synthetic__vlm-7b"
LOG = "20260811_093012_samples"
VIDEO_MME_TABLE = TABLES / "Video-MME" / "tsv" / "SynthVLM-7B_Video-MME_64frame.tsv"
MVBENCH_TABLE = TABLES / "MVBench" / "xlsx" / "SynthVLM-7B_MVBench_8frame.xlsx"


def report(path: Path, config: BenchmarkConfig | None = None) -> FileReport:
    (found,) = read_and_report(path, config)
    return found


def video_mme(folder: Path, rows: list[dict[str, Any]]) -> BenchmarkConfig:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    return VideoMmeConfig("video_mme", str(folder))


def logged_rows() -> list[dict[str, Any]]:
    """The data set behind the golden logs, which the older ones contain."""
    path = LOGS / "old_2024_09" / "synthetic__vlm" / "20240920_120000_samples_videomme.jsonl"
    return [json.loads(line)["doc"] for line in path.read_text().splitlines()]


def table_rows(name: str) -> list[dict[str, str]]:
    with (TABLES / name / f"{name}.tsv").open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def tabled_rows() -> list[dict[str, Any]]:
    rows = []
    for at, row in enumerate(table_rows("Video-MME")):
        made = {key: row[key] for key in ("duration", "domain", "sub_category", "task_type", "question", "answer")}
        made |= {"videoID": row["video"], "options": ast.literal_eval(row["candidates"])}
        rows.append(made | {"video_id": f"{at // 3:03d}", "question_id": f"{at // 3:03d}-{at % 3 + 1}"})
    return rows


def test_a_log_is_matched_by_id_and_both_scores_are_printed_with_the_differences(tmp_path: Path) -> None:
    found = report(RUN / f"{LOG}_videomme.jsonl", video_mme(tmp_path, logged_rows()))
    assert "matched: 72 answers by id, 0 by text" in found.text
    assert "its own score: 52.78 % recomputed from the answers, 52.78 % in its own result file" in found.text
    assert "questions 67.24 %; 54.17 % if answers that choose no option count as wrong (14)" in found.text
    assert re.search(r"\d+ answers without a letter: wrong there, left out officially", found.text)
    assert "because another letter is read" in found.text
    assert found.rows[0].video_id == "001" and len(found.rows) == 72


def test_a_partial_run_names_the_questions_without_an_answer(tmp_path: Path) -> None:
    path = LOGS / "run_2026_08_limit" / "synthetic__vlm-7b" / "20260812_120000_samples_videomme.jsonl"
    text = report(path, video_mme(tmp_path, logged_rows())).text
    assert "a partial run: 10 of 72 questions; do not compare it with scores of whole runs" in text
    assert "without an answer in the file: 62 questions (004-2, " in text


def test_a_table_is_matched_by_its_rows_or_by_text_if_the_rows_are_of_another_revision(tmp_path: Path) -> None:
    rows = tabled_rows()
    assert "matched: 90 answers by id, 0 by text" in report(VIDEO_MME_TABLE, video_mme(tmp_path / "a", rows)).text
    # Another revision begins with another video: the row numbers of the table fit no more.
    shifted = [*rows[3:], *rows[:3]]
    found = report(VIDEO_MME_TABLE, video_mme(tmp_path / "b", shifted))
    assert "matched: 0 answers by id, 90 by text" in found.text
    assert {row.question_id: row.letter for row in found.rows} == {
        row.question_id: row.letter for row in report(VIDEO_MME_TABLE, video_mme(tmp_path / "a", rows)).rows
    }


def test_a_question_that_was_changed_is_counted_and_listed(tmp_path: Path) -> None:
    rows = tabled_rows()
    rows[5] |= {"question": "Another question?"}
    rows[6] |= {"answer": "ABCD".replace(rows[6]["answer"], "")[0]}
    text = report(VIDEO_MME_TABLE, video_mme(tmp_path, rows)).text
    assert "matched: 88 answers by id, 0 by text" in text
    assert "not matched: 2 answers (line 7, (question 5) has another text or other options than in the bench" in text
    assert re.search(r"line 8, \(question 002-1\) has the right answer C, in the benchmark A", text)
    assert "without an answer in the file: 2 questions (001-3, 002-1)" in text


def test_missing_replies_and_failures_that_the_rating_of_mvbench_counts_as_right_are_listed(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    items: dict[str, list[Any]] = {}
    for row in table_rows("MVBench"):
        item = {"video": row["video"], "question": row["question"], "answer": row["answer"]}
        name = row["task_type"].lower().replace(" ", "_")
        items.setdefault(name, []).append(item | {"candidates": ast.literal_eval(row["candidates"])})
    for task, members in items.items():
        (tmp_path / "json" / f"{task}.json").write_text(json.dumps(members))
    text = report(MVBENCH_TABLE, MvbenchConfig("mvbench", str(tmp_path))).text
    assert "88 answers" in text and "not matched" not in text
    assert "its own score: 63.64 % recomputed from the answers, 63.64 % in its own result file" in text
    assert "average accuracy 36.36 %; 28.41 % if answers that choose no option count as wrong (53, 7 of which" in text
    assert re.search(r"1 answer: a failed call counts as right there \(.*'Failed to ob", text)
    assert re.search(r"21 answers: right there, but the official rule reads no letter \(", text)


def test_a_log_without_ids_is_matched_by_text(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    tables: dict[str, list[Any]] = {}
    for line in (RUN / f"{LOG}_mlvu_dev.jsonl").read_text().splitlines():
        metric = json.loads(line)["mlvu_percetion_score"]
        text, *options = metric["question_id"].split("\n")
        candidates = [option[4:] for option in options]
        item = {"video": f"{len(tables)}.mp4", "duration": 60, "question": text, "candidates": candidates}
        item["answer"] = candidates["ABCD".index(metric["answer"])]
        tables.setdefault(metric["task_type"], []).append(item)
    for at, (task, items) in enumerate(tables.items()):
        (tmp_path / "json" / f"{at}_{task}.json").write_text(json.dumps(items))
    found = report(RUN / f"{LOG}_mlvu_dev.jsonl", MlvuConfig("mlvu", str(tmp_path)))
    assert len(found.rows) == 42 and "official: M-Avg 8.23 %" in found.text
    assert re.search(r"matched: \d+ answers by id, [1-9]\d* by text\n", found.text)
    assert "its own score: 38.32 % recomputed from the answers, 38.32 % in its own result file" in found.text


def test_a_reply_to_longvideobench_without_a_letter_is_named_as_random_there() -> None:
    text = report(RUN / f"{LOG}_longvideobench_val_v.jsonl").text
    assert "its own reader, a reply without a letter gets a random one" in text
    assert "1 answer: wrong there, because another letter is read (syn17_0: there A, officially C, right C" in text
    assert "not matched to the benchmark: benchmark=longvideobench benchmark.folder=DIR checks" in text


def lvbench(folder: Path) -> BenchmarkConfig:
    (folder / "video_info.meta.jsonl").write_text((GOLDENS / "lvbench" / "video_info.meta.jsonl").read_text())
    return LvbenchConfig("lvbench", str(folder))


@pytest.mark.parametrize("name", ["letters", "missing_40pct", "unpolished", "extra_ids"])
def test_the_official_file_of_lvbench_is_scored_as_the_script_scores_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(golden("lvbench/answers.json")[name]))
    text = report(path, lvbench(tmp_path)).text
    assert text.startswith(golden("lvbench/results.expected.json")[name]["printed"])
    with pytest.raises(DataError, match=r"does not say the right answer .* benchmark=NAME benchmark\.folder=DIR"):
        report(path)


def test_the_official_file_of_tempcompass_is_read_with_its_task(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(golden("tempcompass/predictions.yes_no.json")))
    expected = golden("tempcompass/results.expected.json")["yes_no"]["stdout"].splitlines()
    alone = report(path).text.splitlines()
    assert (alone[1], alone[3]) == (expected[1], expected[3])  # the fine types need meta_info.json
    matched = report(path, tempcompass(tmp_path / "benchmark")).text.splitlines()
    assert matched[:4] == expected


def test_the_official_file_of_mvbench_is_read_by_the_order_of_its_tasks(tmp_path: Path) -> None:
    tables = golden("mvbench/dataset.json")
    replies = iter(golden("mvbench/results_full.responses.json")["chatty"])
    (tmp_path / "json").mkdir()
    results = []
    for table in tables.values():
        (tmp_path / "json" / table["file"]).write_text(json.dumps(table["items"]))
        for item in table["items"]:
            at = len(item["candidates"]) - 1 - item["candidates"][::-1].index(item["answer"])
            reply = next(replies).strip().split("\n")[0]
            results.append({"pred": f"({reply}", "gt": f"({'ABCDE'[at]}) {item['answer']}"})
    expected = golden("mvbench/results_full.expected.json")["chatty"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"acc_dict": expected["acc_dict"], "res_list": results}))
    text = report(path, MvbenchConfig("mvbench", str(tmp_path))).text
    assert text.splitlines()[3] == expected["last_lines"][3]
    assert "matched: 1,000 answers by id" in text
    assert report(path).text.splitlines()[3] == expected["last_lines"][3]


def test_the_scored_table_of_video_mme_v2_is_read(tmp_path: Path) -> None:
    rows = [*v2_rows("001"), *v2_rows("002", group_type="relevance", group_structure="[1, 2, 3, 4]")]
    path = tmp_path / "out_scored.tsv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "prediction", "score"], delimiter="\t")
        writer.writeheader()
        writer.writerows(row | {"prediction": "Final Answer: H", "score": 1} for row in rows)
    assert "official: group score 100.00 %" in report(path).text
    assert "matched: 8 answers by id" in report(path, v2(tmp_path / "benchmark", rows)).text


def test_a_file_with_missing_questions_of_a_group_is_scored_with_the_benchmark_only(tmp_path: Path) -> None:
    rows = [*v2_rows("001"), *v2_rows("002")]
    path = tmp_path / "answers.csv"
    kept = [row for row in rows if row["question_id"] != "001-2"]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["question_id", "response"])
        writer.writeheader()
        writer.writerows({"question_id": row["question_id"], "response": "H"} for row in kept)
    found = report(path, v2(tmp_path / "benchmark", rows))
    assert [row.official_score for row in found.rows] == [1, -1, 1, 1, 1, 1, 1, 1]
    assert "without an answer in the file: 1 questions (001-2)" in found.text


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        (f"{LOG}_videomme.jsonl", MvbenchConfig, "holds answers to video_mme, but benchmark=mvbench is given"),
        (f"{LOG}_mvbench_state_change.jsonl", VideoMmeConfig, "holds answers to mvbench, but benchmark=video_mme"),
        (f"{LOG}_mlvu_dev.jsonl", TempCompassConfig, "holds answers to mlvu, but benchmark=tempcompass is given"),
    ],
)
def test_a_file_of_another_benchmark_is_refused(name: str, config: Any, message: str, tmp_path: Path) -> None:
    made = {
        VideoMmeConfig: lambda: video_mme(tmp_path, logged_rows()),
        TempCompassConfig: lambda: tempcompass(tmp_path),
        MvbenchConfig: lambda: mvbench_of_one(tmp_path),
    }[config]()
    with pytest.raises(DataError, match=message):
        report(RUN / name, made)


def mvbench_of_one(folder: Path) -> BenchmarkConfig:
    (folder / "json").mkdir(parents=True)
    item = {"video": "a.mp4", "question": "What?", "candidates": ["x", "y"], "answer": "x"}
    (folder / "json" / "action_count.json").write_text(json.dumps([item]))
    return MvbenchConfig("mvbench", str(folder))


def test_answers_of_which_none_is_a_question_of_the_benchmark_are_refused(tmp_path: Path) -> None:
    rows = [row | {"question": "Other?", "question_id": f"x{at}"} for at, row in enumerate(logged_rows())]
    with pytest.raises(DataError, match=r"None of the 72 answers .* matches one of the 72 questions .* such as x0 \("):
        report(RUN / f"{LOG}_videomme.jsonl", video_mme(tmp_path, rows))


def test_an_official_answer_of_mvbench_whose_right_text_is_another_is_not_matched(tmp_path: Path) -> None:
    path, config = tmp_path / "m.json", mvbench_of_one(tmp_path / "benchmark")
    for right in ("(A) x", "(A) z"):
        data = {"acc_dict": {"Action Count": [1, 1]}, "res_list": [{"pred": "(A", "gt": right}]}
        path.write_text(json.dumps(data))
        if right == "(A) x":
            assert "matched: 1 answers by id" in report(path, config).text
        else:
            with pytest.raises(DataError, match="None of the 1 answers"):
                report(path, config)


def test_our_own_rows_are_checked_against_the_benchmark(tmp_path: Path) -> None:
    rows = logged_rows()
    config = video_mme(tmp_path / "benchmark", rows)
    path = tmp_path / "predictions.jsonl"

    def write(**changes: Any) -> None:
        row = rows[0]
        made = Prediction(
            row["question_id"], "without_subtitles", "001", "short", row["answer"], response="A", letter="A"
        )
        fields = json.loads(made.to_json())
        path.write_text(json.dumps(fields | changes))

    write()
    text = report(path, config).text
    assert "matched: 1 answers by id" in text and "without an answer in the file: 71 questions" in text
    write(question_id="x")
    with pytest.raises(DataError, match="question x is not a question of benchmark video_mme"):
        report(path, config)
    write(answer="B" if rows[0]["answer"] != "B" else "C")
    with pytest.raises(DataError, match=r"has the right answer ., but not in benchmark video_mme"):
        report(path, config)


CSV = 'question_id,response,answer\nq1,B,B\nq2,"red, B",A\n'


@pytest.mark.parametrize(
    ("text", "accuracy"),
    [
        (CSV, 50.0),
        (CSV.replace(",", ";"), 50.0),
        ("id\tprediction\tanswer\nq1\tB\tB\n", 100.0),
        ("\ufeffuid,output,answer\r\nq1,B,B\r\n", 100.0),
        ('[{"question_id": "q1", "response": "B", "answer": "B"}]', 100.0),
        ("question_id,response,answer\nq1,H,H\nq2,H,A\n", 50.0),
        ("question_id,response,answer,options\nq1,E,E,\"['a', 'b', 'c', 'd', 'e']\"\n", 100.0),
    ],
)
def test_a_plain_table_is_read(text: str, accuracy: float, tmp_path: Path) -> None:
    path = tmp_path / ("answers.json" if text.startswith("[") else "answers.csv")
    path.write_text(text)
    assert f"official: accuracy of the answered questions {accuracy:.2f} %" in report(path).text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has the columns a, b: give our predictions"),
        ("question_id,response\n", "has a header, but no rows"),
        ("", "has no rows"),
        ("question_id,response\nq1,A\n", "does not say the right answer of question q1: give the benchmark too"),
        ("question_id,response,answer\nq1,A,A\nq1,B,A\n", "answers question q1 twice and differently"),
        ("question_id,response,answer,model\nq1,A,A,m\nq2,B,A,n\n", "mixes the models m, n"),
        ("question_id,response,answer,setting\nq1,A,A,x\n", "has the setting 'x'"),
        ("question_id,response,answer\nq1,A,K\n", "has the answer 'K', expected one of A, B, C, D"),
        ("question_id,response,answer\n,A,A\n", "line 2, has no question id"),
        ("question_id,response,answer\nq1,A\n", "line 2, has 2 cells, but the header has 3"),
        ('question_id,response,answer\nq1,"A,A\n', "cannot be read as a table"),
    ],
)
def test_a_plain_table_with_other_content_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        report(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_names_what_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="a sample log of lmms-eval, a result table of VLMEvalKit, or a CSV"):
        report(tmp_path / "nothing.json")
