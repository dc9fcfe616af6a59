"""Every golden table of VLMEvalKit: cells, scores of each question, and its rating."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from sg.artefacts.answer_files.look import read_answer_file
from sg.artefacts.answer_files.record import AnswerFile, predictions_of
from sg.artefacts.answer_files.vlmevalkit import chosen_option
from sg.artefacts.answers import MISSING_CELLS
from sg.core.errors import DataError
from tests.evaluate.golden_benchmarks import GOLDENS, golden

TABLES = GOLDENS / "vlmevalkit_tables"
SETS = {"Video-MME": "Video-MME_64frame", "MVBench": "MVBench_8frame"}
FIRST_CANDIDATES = "\"['A. Before lunch.', 'B. East side gate.', 'C. Three times.', 'D. A dog runs home.']\""
FORMS = [(name, ext) for name in SETS for ext in ("xlsx", "tsv", "json")]


def table(name: str, ext: str) -> Path:
    return TABLES / name / ext / f"SynthVLM-7B_{SETS[name]}.{ext}"


def read(path: Path) -> AnswerFile:
    found = read_answer_file(path)
    assert isinstance(found, AnswerFile)
    return found


@pytest.mark.parametrize(("name", "ext"), FORMS)
def test_a_golden_table_is_read_and_scored_as_the_harness_does(name: str, ext: str) -> None:
    expected, found = golden(f"vlmevalkit_tables/expected.{name}.{ext}.json"), read(table(name, ext))
    assert (found.writer, len(found.answers)) == ("VLMEvalKit", expected["n"])
    for answer, case in zip(found.answers, expected["per_question"], strict=True):
        assert (answer.row, answer.question.answer) == (case["index"], case["answer"])
        is_missing = ext != "json" and answer.response in MISSING_CELLS
        assert (None if is_missing else answer.response) == case["prediction"]
        if name == "Video-MME":
            assert (answer.read or None) == case["letter_vlmevalkit"]
        if ext != "json":  # The harness stops at its own JSON tables.
            assert answer.score == case["harness_score"], case
    assert found.harness is not None
    if ext == "json":
        assert (found.harness.value, found.harness.recorded) == (None, None)
        return
    rating = expected["rating"]["overall"]
    value = 100 * rating[0] / rating[1] if isinstance(rating, list) else 100 * float(rating["overall"])
    assert found.harness.value == pytest.approx(value, abs=1e-9 if isinstance(rating, list) else 0.05)
    assert found.harness.recorded == pytest.approx(value)


@pytest.mark.parametrize("name", SETS)
def test_all_forms_of_a_table_hold_the_same_answers(name: str) -> None:
    rows = [[(row.question_id, row.response, row.letter) for row in predictions_of(read(table(name, ext)))]
            for ext in ("xlsx", "tsv", "json")]  # fmt: skip
    assert rows[0] == rows[1] == rows[2]


def test_every_golden_reply_to_mvbench_is_scored_as_the_harness_does(tmp_path: Path) -> None:
    cases = golden("mvbench/answers.json")
    rows = [
        {
            "task_type": "t", "video": "v.mp4", "question": "What?", "answer": case["answer"], "index": number,
            "candidates": str(case["candidates"]), "prediction": case["response"],
        }
        for number, case in enumerate(cases)
    ]  # fmt: skip
    path = tmp_path / "M_MVBench.json"
    path.write_text(json.dumps(rows))
    for answer, case in zip(read(path).answers, cases, strict=True):
        failed = answer.score == -1  # a failed call, which the rating counts as right
        assert answer.score == case["vlmevalkit_exact"] or failed, case


def test_a_table_with_subtitles_is_known_by_its_name(tmp_path: Path) -> None:
    copy = tmp_path / "M_Video-MME_8frame_subs.tsv"
    shutil.copy(table("Video-MME", "tsv"), copy)
    assert read(copy).setting == "with_subtitles"
    assert read(table("Video-MME", "tsv")).setting == "without_subtitles"


@pytest.mark.parametrize("name", sorted(path.name for path in TABLES.glob("*/pkl/*.pkl")))
def test_a_pickle_is_refused_because_it_runs_code(name: str) -> None:
    path = next(TABLES.glob(f"*/pkl/{name}"))
    with pytest.raises(DataError, match="is a pickle, which runs code when it is loaded: convert"):
        read_answer_file(path)


def test_a_scored_copy_has_the_same_answers_and_a_rating_has_none() -> None:
    path = table("MVBench", "tsv")
    scored = read(path.with_name(f"{path.stem}_score.tsv"))
    # The scored copy was written after `None` had been read as a missing cell.
    assert [answer.response for answer in scored.answers] == [
        "" if answer.response == "None" else answer.response for answer in read(path).answers
    ]
    with pytest.raises(DataError, match="holds scores and no answers"):
        read_answer_file(path.with_name(f"{path.stem}_rating.json"))


def changed(tmp_path: Path, old: str, new: str, count: int = 1) -> Path:
    path = tmp_path / "M_Video-MME_64frame.tsv"
    path.write_text(table("Video-MME", "tsv").read_text().replace(old, new, count))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"prediction"', '"reply"', "has the columns index, video, .*: give our predictions"),
        ('"candidates"', '"options"', "has no column 'candidates', so it is not a result table of VLMEvalKit"),
        ('"question"', '"answer"', "has two columns named 'answer'"),
        ('"0"', '"first"', "line 2, has 'first' as 'index'"),
        ("\"['A. Before lunch.'", '"A. Before lunch.', "as 'candidates', expected a list of 2 to 26 texts"),
        ('"the answer is a"', '"the answer is a', "cannot be read as a table"),
        ('\t"the answer is a"', "", "line 2, has 11 cells, but the header has 12"),
        ('"1"\t"1B9cY__ACXY"', '"0"\t"1B9cY__ACXY"', "answers question 0 twice and differently"),
    ],
)
def test_a_damaged_table_is_refused_in_one_sentence(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_answer_file(changed(tmp_path, old, new))
    assert "\n" not in str(caught.value)


def test_a_damaged_sheet_is_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = table("MVBench", "xlsx").read_bytes()
    path = tmp_path / "M_MVBench.xlsx"
    for content in (whole[:5000], whole[:-30], b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"is not a complete \.xlsx file"):
            read_answer_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no sheet")
    with pytest.raises(DataError, match="a zip archive without a sheet"):
        read_answer_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", "<worksheet><row>")
    with pytest.raises(DataError, match=r"is not a complete \.xlsx file"):
        read_answer_file(path)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Z", ""),
        ("I choose B", "B"),
        ("B or C", ""),
        ("the answer is **c**", "C"),
        ("a red cube", "A"),
        ("red, blue or green", ""),
    ],
)
def test_free_text_chooses_an_option_as_in_the_harness(reply: str, letter: str) -> None:
    assert chosen_option(reply, ["red cube", "blue", "green"]) == letter


def test_a_formula_is_never_evaluated(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    with pytest.raises(DataError, match="as 'candidates'"):
        read_answer_file(changed(tmp_path, FIRST_CANDIDATES, f'"{code}"'))
    assert not marker.exists()
