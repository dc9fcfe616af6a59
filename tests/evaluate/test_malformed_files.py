"""Sixty files of answers that are cut, wrong, doubled, mixed or of another benchmark: each ends in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sg.artefacts.predictions import Prediction, PredictionWriter
from sg.core.errors import SgError
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.file_report import read_and_report
from tests.evaluate.golden_benchmarks import GOLDENS
from tests.evaluate.test_file_report import MVBENCH_TABLE, RUN, VIDEO_MME_TABLE, logged_rows, lvbench, video_mme
from tests.evaluate.test_more_benchmarks import mv_item, mvbench, tempcompass, v2, v2_rows

LOG = RUN / "20260811_093012_samples_videomme.jsonl"
MVBENCH = GOLDENS / "lmms_eval_logs" / "run_2026_08" / "synthetic__vlm-7b"


def rows(*changes: dict[str, object]) -> str:
    """Lines of our `predictions.jsonl` without checksums."""
    base = {"question_id": "q1", "setting": "without_subtitles", "video_id": "v", "duration": "short", "answer": "A"}
    return "\n".join(json.dumps(base | {"letter": "B"} | change) for change in changes) + "\n"


def official(**changes: object) -> str:
    question = {"question_id": "1-1", "task_type": "x", "question": "?", "options": ["A. a", "B. b"], "answer": "A"}
    video = {"video_id": "1", "duration": "short", "domain": "d", "sub_category": "s"}
    return json.dumps([video | {"questions": [question | {"response": "A"} | changes]}])


def log_lines(count: int = 3) -> list[str]:
    return LOG.read_text().splitlines()[:count]


def changed(line: str, **changes: object) -> str:
    return json.dumps(json.loads(line) | changes)


def choices(**changes: object) -> str:
    return json.dumps({"acc_dict": {"Action Count": [1, 1]}, "res_list": [{"pred": "(A", "gt": "(A) x"}]} | changes)


def v2_table(**changes: object) -> str:
    row = {"video_id": "001", "question_id": "001-1", "group_type": "logic", "group_structure": "[1, 2, 3, 4]",
           "answer": "A", "prediction": "A"} | changes  # fmt: skip
    return "\t".join(row) + "\n" + "\t".join(map(str, row.values())) + "\n"


CSV = "question_id,response,answer\n"
TEXTS: dict[str, tuple[str, str]] = {
    "empty jsonl": ("a.jsonl", ""),
    "empty json": ("a.json", ""),
    "empty csv": ("a.csv", ""),
    "blank csv": ("a.csv", "\n\n"),
    "header only": ("a.csv", CSV),
    "other columns": ("a.csv", "name,value\nx,1\n"),
    "no response column": ("a.csv", "question_id,answer\nq1,A\n"),
    "short row": ("a.csv", CSV + "q1\n"),
    "long row": ("a.csv", CSV + "q1,A,A,B,C\n"),
    "no id": ("a.csv", CSV + ",A,A\n"),
    "answer of no option": ("a.csv", CSV + "q1,A,Z\n"),
    "answer of two letters": ("a.csv", CSV + "q1,A,AB\n"),
    "doubled id": ("a.csv", CSV + "q1,A,A\nq1,B,A\n"),
    "doubled id, other answer": ("a.csv", CSV + "q1,A,A\nq1,A,B\n"),
    "mixed models": ("a.csv", "model,question_id,response,answer\nm1,q1,A,A\nm2,q2,A,A\n"),
    "mixed settings": ("a.csv", f"setting,{CSV}without_subtitles,q1,A,A\nwith_subtitles,q2,A,A\n"),
    "unknown setting": ("a.csv", "setting,question_id,response,answer\nsubs,q1,A,A\n"),
    "no right answers": ("a.csv", "question_id,response\nq1,A\n"),
    "open quote": ("a.csv", CSV + 'q1,"A,A\n'),
    "html": ("a.json", "<html>Not found</html>"),
    "pointer of LFS": ("a.json", "version git-lfs\noid sha256:0\nsize 1\n"),
    "a number": ("a.json", "7"),
    "a text": ("a.json", '"answers"'),
    "null": ("a.json", "null"),
    "empty list": ("a.json", "[]"),
    "empty object": ("a.json", "{}"),
    "deep nesting": ("a.json", "[" * 100_000),
    "cut official file": ("a.json", official()[:-20]),
    "official file without questions": ("a.json", json.dumps([{"video_id": "1", "duration": "short", "domain": "d",
                                                              "sub_category": "s", "questions": []}])),
    "official file without a response": ("a.json", official(response=None)),
    "official file, response of a number": ("a.json", official(response=3)),
    "official file, answer E of two options": ("a.json", official(answer="E")),
    "official file, options of a text": ("a.json", official(options="AB")),
    "official file, doubled question": ("a.json", json.dumps(json.loads(official()) * 2)),
    "official file of texts": ("a.json", '["a", "b"]'),
    "results instead of answers": ("a.json", '{"results": {}, "config": {}}'),
    "MVBench, counts of another number": ("a.json", choices(acc_dict={"Action Count": [1, 2]})),
    "MVBench, more right than asked": ("a.json", choices(acc_dict={"Action Count": [2, 1]})),
    "MVBench, a negative count": ("a.json", choices(acc_dict={"Action Count": [1, -1], "Object Shuffle": [0, 2]})),
    "MVBench, counts of texts": ("a.json", choices(acc_dict={"Action Count": "half"})),
    "MVBench, results of texts": ("a.json", choices(res_list=["A"])),
    "MVBench, right answer without a letter": ("a.json", choices(res_list=[{"pred": "A", "gt": "x"}])),
    "MVBench, no prediction": ("a.json", choices(res_list=[{"gt": "(A) x"}])),
    "TempCompass, an answer beside the options": ("a.json", json.dumps({"1": {"action": [
        {"question": "What?\nA. x\nB. y", "answer": "C. z", "prediction": "A"}]}})),
    "TempCompass, mixed tasks": ("a.json", json.dumps({"1": {"action": [
        {"question": "What?\nA. x\nB. y", "answer": "A. x", "prediction": "A"},
        {"question": "Is it?", "answer": "yes", "prediction": "yes"}]}})),
    "TempCompass, a prediction of a list": ("a.json", json.dumps({"1": {"action": [
        {"question": "Is it?", "answer": "yes", "prediction": ["yes"]}]}})),
    "answer map, doubled id": ("a.json", '{"q1": "A", "q1": "B"}'),
    "answer map without right answers": ("a.json", '{"q1": "A"}'),
    "cut log": ("b_samples_videomme.jsonl", "\n".join(log_lines())[:-30]),
    "log with an unknown metric": ("b_samples_mmmu.jsonl", json.dumps({"doc_id": 0, "mmmu_acc": {"answer": "A"}})),
    "log with mixed tasks": ("b_samples_x.jsonl", "\n".join([*log_lines(1), json.dumps({
        "doc_id": 1, "filtered_resps": "A", "lvb_acc": {"id": "a", "answer": "A", "parsed_pred": "A"}})])),
    "log of two runs": ("b_samples_videomme.jsonl", "\n".join([
        *log_lines(1), changed(log_lines(1)[0], filtered_resps="C!")])),
    "log with a text as number": ("b_samples_mvbench_x.jsonl", json.dumps({
        "doc_id": "one", "filtered_resps": "A",
        "mvbench_accuracy": {"pred_answer": "A", "gt_answer": "A", "score": 1}})),
    "log with a metric of null": ("b_samples_videomme.jsonl", changed(log_lines(1)[0], videomme_perception_score=None)),
    "log with several replies": ("b_samples_videomme.jsonl", changed(log_lines(1)[0], filtered_resps=["A", "B"])),
    "log without an id": ("b_samples_videomme.jsonl", "\n".join([*log_lines(1), '{"target": "A"}'])),
    "cut table of VLMEvalKit": ("M_Video-MME.tsv", VIDEO_MME_TABLE.read_text()[:400]),
    "table of VLMEvalKit without predictions": ("M_Video-MME.tsv", "index\tvideo\tquestion\tanswer\n0\ta\tWhat?\tA\n"),
    "unknown group": ("a.tsv", v2_table(group_type="chain")),
    "ids of objects": ("a.json", '[{"question_id": {"a": 1}, "response": "A", "answer": "A"}]'),
    "a response of a list": ("a.json", '[{"question_id": "q1", "response": ["A"], "answer": "A"}]'),
    "our rows, fewer logits than options": ("predictions.jsonl", rows({"letter_logits": [1.0]})),
    "our rows, likelihoods of texts": ("predictions.jsonl", rows({"option_logprobs": ["a"]})),
    "our rows, cut": ("predictions.jsonl", rows({})[:-9]),
    "our rows, doubled": ("predictions.jsonl", rows({}, {"letter": "C"})),
    "our rows, mixed models": ("predictions.jsonl", rows({"made_by": "a"}, {"question_id": "q2", "made_by": "b"})),
    "our rows, letter of no option": ("predictions.jsonl", rows({"letter": "E"})),
    "our rows, wrong type": ("predictions.jsonl", rows({"num_options": "four"})),
    "our rows, a list": ("predictions.jsonl", "[1, 2]\n"),
}  # fmt: skip


def refused(path: Path, config: BenchmarkConfig | None = None) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(SgError) as found:
        read_and_report(path, config)
    sentence = str(found.value)
    assert "\n" not in sentence
    assert 20 < len(sentence) < 700
    return sentence


@pytest.mark.parametrize("name", TEXTS)
def test_a_malformed_file_ends_in_one_sentence_that_names_it(name: str, tmp_path: Path) -> None:
    file, text = TEXTS[name]
    (tmp_path / file).write_text(text)
    assert file in refused(tmp_path / file)


BYTES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "cut workbook": ("a.xlsx", lambda: MVBENCH_TABLE.read_bytes()[:500]),
    "workbook of zeros": ("a.xlsx", lambda: b"PK\x03\x04" + bytes(300)),
    "pickle": ("a.pkl", lambda: b"\x80\x04K\x01."),
    "pickle under another name": ("a.json", lambda: b"\x80\x04K\x01."),
    "Parquet": ("a.parquet", lambda: b"PAR1" + bytes(100)),
    "not Unicode": ("a.csv", lambda: b"question_id,response,answer\nq1,\xff\xfe\xfd,A\n"),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_of_bytes_ends_in_one_sentence(name: str, tmp_path: Path) -> None:
    file, data = BYTES[name]
    (tmp_path / file).write_bytes(data())
    assert file in refused(tmp_path / file)


def our_rows(path: Path) -> Path:
    with PredictionWriter(path, "made") as writer:
        writer.write([Prediction("q1", "without_subtitles", "v", "short", "A", letter="B")])
    return path


OTHERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], BenchmarkConfig]]] = {
    "log of another benchmark": (lambda _: LOG, lvbench),
    "table of another benchmark": (lambda _: MVBENCH_TABLE, lambda folder: video_mme(folder, logged_rows())),
    "our rows of another benchmark": (lambda folder: our_rows(folder / "predictions.jsonl"), tempcompass),
    "official file of another benchmark": (
        lambda folder: _written(folder / "a.json", official()), lambda folder: v2(folder, v2_rows("001")),
    ),
    "answers of another revision": (
        lambda folder: _written(folder / "a.json", choices()),
        lambda folder: mvbench(folder, {"action_count": [mv_item(candidates=["p", "q"], answer="q")]}),
    ),
}  # fmt: skip


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_benchmark_ends_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, benchmark = OTHERS[name]
    (tmp_path / "own").mkdir()
    path = make(tmp_path)
    assert path.name in refused(path, benchmark(tmp_path / "own"))


def test_there_are_sixty_of_them() -> None:
    assert len(TEXTS) + len(BYTES) + len(OTHERS) >= 60
