import json
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.answer_files.look import read_answer_file
from sg.artefacts.answer_files.record import predictions_of
from sg.artefacts.predictions import UNDECODABLE, Prediction
from sg.core.errors import DataError
from sg.evaluate.benchmark import Benchmark, BenchmarkVideo, Question
from sg.evaluate.submission import write_submission

OPTIONS = ("A. red", "B. blue", "C. green", "D. black")


def small_benchmark() -> Benchmark:
    questions = tuple(Question(f"001-{i}", "order", "What?", OPTIONS, "B") for i in (1, 2))
    return Benchmark("demo", "1", (BenchmarkVideo("001", "abc", "short", "indoor", "room", questions),))


def rows(**second: Any) -> list[Prediction]:
    same = {"setting": "with_subtitles", "video_id": "001", "duration": "short", "answer": "B", "domain": "indoor"}
    same |= {"sub_category": "room", "task_type": "order"}
    return [
        Prediction(question_id="001-1", response="blue B", letter="B", **same),
        Prediction(question_id="001-2", **(same | second)),
    ]


def test_a_written_file_reads_back_as_the_same_answers(tmp_path: Path) -> None:
    path = tmp_path / "official_with_subtitles.json"
    write_submission(path, small_benchmark(), rows(response="Answer: C", letter="C"))
    assert read_submission(path) == rows(response="Answer: C", letter="C")


def test_a_failed_question_has_an_empty_response_and_the_keys_are_the_official_ones(tmp_path: Path) -> None:
    path = tmp_path / "official.json"
    write_submission(path, small_benchmark(), rows(status=UNDECODABLE, reason="no frame"))
    (video,) = json.loads(path.read_text())
    assert list(video) == ["video_id", "duration", "domain", "sub_category", "questions"]
    assert list(video["questions"][0]) == ["question_id", "task_type", "question", "options", "answer", "response"]
    assert video["questions"][1]["response"] == ""


def test_an_unasked_question_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="question 001-2 was not asked"):
        write_submission(tmp_path / "official.json", small_benchmark(), rows()[:1])


def read_submission(path: Path) -> list[Prediction]:
    found = read_answer_file(path)
    assert not isinstance(found, list)
    return predictions_of(found)


def official(**changes: Any) -> list[dict[str, Any]]:
    question = {"question_id": "1", "task_type": "t", "question": "?", "options": [], "answer": "A", "response": "A"}
    video = {"video_id": "001", "duration": "short", "domain": "d", "sub_category": "s"}
    return [video | {"questions": [question | changes]}]


def save(data: Any, folder: Path) -> Path:
    path = folder / "file.json"
    path.write_text(json.dumps(data))
    return path


def test_a_file_of_the_old_layout_is_read_too(tmp_path: Path) -> None:
    (video,) = official()
    old = {"duration_category": "short", "video_category": "d", "video_subcategory": "s", "video_id": "001"}
    path = save([old | {"questions": video["questions"]}], tmp_path)
    assert read_submission(path) == read_submission(save(official(), tmp_path))


def test_a_file_that_is_not_json_names_the_error_of_its_template(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('[{"video_id": "001",}]')
    with pytest.raises(DataError, match="commas before a closing bracket"):
        read_submission(path)


def test_a_result_file_with_five_options_is_read_with_five_letters(tmp_path: Path) -> None:
    five = official(options=["A. 1", "B. 2", "C. 3", "D. 4", "E. 5"], answer="E", response="E")
    (row,) = read_submission(save(five, tmp_path))
    assert (row.letter, row.answer, row.num_options, row.is_correct) == ("E", "E", 5, True)


def test_a_video_whose_questions_have_another_key_is_named(tmp_path: Path) -> None:
    (video,) = official()
    renamed = {key: value for key, value in video.items() if key != "questions"} | {"video_id": "003", "qa": []}
    with pytest.raises(DataError, match=r"video 2, 003, has None as 'questions'.*its keys are .*sub_category, qa"):
        read_submission(save([video, renamed], tmp_path))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b"\xff\xfe\x00", b""])
def test_a_file_that_no_parser_reads_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is not (JSON|UTF-8 text)"):
        read_submission(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(official()), encoding=encoding)
    assert len(read_submission(path)) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"videos": []}, "expected a list"),
        (["video"], "video 1, is a str, expected an object"),
        (official(response=None), "has None as 'response', expected text"),
        (official(answer="E"), "has the answer 'E'"),
        (official() + official(), "holds question 1 twice"),
        ([{"video_id": "001"}], "has None as 'duration'"),
        (official(options=["A."]), "as 'options', expected a list of 2 to 26 texts"),
        (official(options="A. red"), "as 'options', expected a list"),
        (official(question_id=1), "has 1 as 'question_id', expected text"),
        ([official()[0] | {"questions": []}], r"video 1, 001, has \[\] as 'questions'"),
        ([official()[0] | {"questions": {"a": 1}}], r"video 1, 001, has \{'a': 1\} as 'questions'"),
    ],
)
def test_a_file_of_another_format_is_refused_in_one_sentence(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_submission(save(data, tmp_path))
    assert "\n" not in str(caught.value)
