import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.predictions import (
    ERROR,
    MISSING_VIDEO,
    Prediction,
    PredictionWriter,
    paired_outcomes,
    prediction_from_dict,
    read_predictions,
)
from sg.core.errors import DataError, MissingInputError


def row(question_id: str, **more: Any) -> Prediction:
    values: dict[str, Any] = {"setting": "without_subtitles", "video_id": "001", "duration": "short", "answer": "B"}
    return Prediction(question_id=question_id, **(values | {"made_by": "m1"} | more))


def write(path: Path, rows: list[Prediction], made_by: str = "m1") -> PredictionWriter:
    with PredictionWriter(path, made_by) as writer:
        writer.write(rows)
    return writer


def test_rows_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "run" / "predictions.jsonl"
    rows = [row("1", response="rot ✓ B", letter="B", frames=(0, 8), fps=8.0), row("2", status=ERROR, reason="broken")]
    write(path, rows)
    assert read_predictions(path) == rows
    assert json.loads(path.read_text().splitlines()[0])["correct"] is True


def test_one_setting_can_be_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write(path, [row("1"), row("1", setting="with_subtitles")])
    assert [item.setting for item in read_predictions(path, "with_subtitles")] == ["with_subtitles"]


def test_an_incomplete_row_is_written_again_and_the_file_equals_that_of_an_uninterrupted_run(tmp_path: Path) -> None:
    path, undisturbed = tmp_path / "predictions.jsonl", tmp_path / "undisturbed.jsonl"
    rows = [row("1"), row("2"), row("3")]
    write(undisturbed, rows)
    path.write_bytes(undisturbed.read_bytes()[:-7])
    with PredictionWriter(path, "m1") as writer:
        assert sorted(key[0] for key in writer.done) == ["1", "2"]
        writer.write(rows)
    assert path.read_bytes() == undisturbed.read_bytes()


def test_a_last_line_without_a_newline_counts_and_is_ended_by_the_next_row(tmp_path: Path) -> None:
    path, undisturbed = tmp_path / "predictions.jsonl", tmp_path / "undisturbed.jsonl"
    rows = [row("1"), row("2")]
    write(undisturbed, rows)
    path.write_bytes((undisturbed.read_bytes().splitlines(keepends=True)[0])[:-1])
    assert read_predictions(path) == rows[:1]
    write(path, rows)
    assert path.read_bytes() == undisturbed.read_bytes()


def test_a_last_line_that_is_cut_off_is_an_error_unless_the_evaluation_may_still_run(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write(path, [row("1"), row("2")])
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"last line of .* is cut off, so only 1 answers are whole"):
        read_predictions(path)
    assert [item.question_id for item in read_predictions(path, may_be_cut=True)] == ["1"]


def test_a_killed_process_loses_no_row_that_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    program = (
        "import os, signal, pathlib\n"
        "from sg.artefacts.predictions import Prediction, PredictionWriter\n"
        f"with PredictionWriter(pathlib.Path({str(path)!r}), 'm1') as writer:\n"
        "    writer.write([Prediction('1', 'with_subtitles', '001', 'short', 'A', made_by='m1')])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert [item.question_id for item in read_predictions(path)] == ["1"]


def test_a_failed_row_is_not_done_and_an_answer_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write(path, [row("1", status=MISSING_VIDEO, reason="no file"), row("2")])
    with PredictionWriter(path, "m1") as writer:
        assert not writer.is_done(("1", "without_subtitles"))
        assert writer.is_done(("2", "without_subtitles"))
        writer.write([row("1", letter="B", response="B")])
    assert [(item.question_id, item.letter) for item in read_predictions(path)] == [("1", "B"), ("2", "")]


def test_a_row_that_fails_again_in_the_same_way_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    for _ in range(2):
        write(path, [row("1", status=MISSING_VIDEO, reason="no file")])
    assert len(path.read_text().splitlines()) == 1


def test_rows_of_another_checkpoint_are_moved_aside_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write(path, [row("1")])
    writer = write(path, [row("1", made_by="m2")], made_by="m2")
    assert writer.set_aside == tmp_path / "predictions.m1.jsonl"
    assert [item.made_by for item in read_predictions(path)] == ["m2"]
    assert [item.made_by for item in read_predictions(writer.set_aside)] == ["m1"]


def test_a_broken_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("{]\n" + row("1").to_json() + "\n")
    with pytest.raises(DataError, match="line 1, is not JSON"):
        read_predictions(path)


def test_every_flipped_bit_of_a_row_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write(path, [row("1", response="B", letter="B"), row("2")])
    whole = path.read_bytes()
    for at in range(len(whole) - 1):  # without the last newline, whose loss looks like a row that was cut off
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 7)]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"predictions\.jsonl, line"):
            read_predictions(path)


def test_a_damaged_row_is_asked_again_and_the_others_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "predictions.jsonl"
    rows = [row("1"), row("2", response="B"), row("3")]
    write(path, rows)
    path.write_bytes(path.read_bytes().replace(b'"response":"B"', b'"response":"C"'))
    with PredictionWriter(path, "m1") as writer:
        assert [key[0] for key in writer.done] == ["1", "3"]
        writer.write(rows)
    assert sorted(read_predictions(path), key=lambda item: item.question_id) == rows
    assert "1 damaged rows are removed" in caplog.text


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"evaluate\.py"):
        read_predictions(tmp_path / "predictions.jsonl")


@pytest.mark.parametrize("data", [[], {"question_id": "1"}, 3])
def test_data_that_is_not_a_prediction_is_refused(data: Any) -> None:
    with pytest.raises(DataError, match="row 7"):
        prediction_from_dict(data, "row 7")


def test_a_line_that_lacks_keys_is_refused_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"question_id": "q1", "answer": "A"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1, is not a prediction: it lacks setting, video_id, duration"):
        read_predictions(path)


HAND_MADE = {"question_id": "q", "setting": "without_subtitles", "video_id": "v", "duration": "short", "answer": "B"}


def hand_made(folder: Path, *changes: dict[str, Any]) -> Path:
    path = folder / "answers.jsonl"
    path.write_text(
        "\n".join(json.dumps(HAND_MADE | change) for change in changes), encoding="utf-8-sig", newline="\r\n"
    )
    return path


@pytest.mark.parametrize(
    ("values", "letter"),
    [
        ({"letter": "B"}, "B"),
        ({"letter": ""}, ""),
        ({"letter": None, "response": "Answer: B."}, "B"),
        ({"response": "The answer is B"}, "B"),
        ({"response": "I cannot see it"}, ""),
        ({"response": "E", "num_options": 5, "answer": "E"}, "E"),
        ({"status": "undecodable", "letter": None}, ""),
    ],
)
def test_a_letter_that_is_absent_or_null_is_read_from_the_response(
    values: dict[str, Any], letter: str, tmp_path: Path
) -> None:
    # With a byte order mark, Windows line ends, a blank line and no newline at the end.
    path = hand_made(tmp_path, {"question_id": "p", "letter": "A"}, values)
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\r\n\r\n"))
    assert [item.letter for item in read_predictions(path)] == ["A", letter]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"letter": "b"}, "has 'b' as 'letter', expected one of A, B, C, D or \"\" for no answer"),
        ({"letter": "E"}, "has 'E' as 'letter'"),
        ({"letter": "AB"}, "has 'AB' as 'letter'"),
        ({"letter": 1}, "has 1 as 'letter', expected a text"),
        ({}, "has no 'letter', and no 'response'"),
        ({"letter": None}, "has no 'letter', and no 'response'"),
        ({"response": None}, "has None as 'response', expected a text"),
        ({"response": ["B"]}, "as 'response', expected a text"),
        ({"letter": "B", "answer": "b"}, "has 'b' as 'answer', expected one of A, B, C, D"),
        ({"letter": "B", "answer": None}, "has None as 'answer'"),
        ({"letter": "E", "answer": "E"}, r"expected one of A, B, C, D \(num_options is 4\)"),
        ({"letter": "B", "num_options": "4"}, "has '4' as 'num_options', expected an integer from 2 to 26"),
        ({"letter": "B", "num_options": 4.0}, "has 4.0 as 'num_options'"),
        ({"letter": "B", "num_options": True}, "has True as 'num_options'"),
        ({"letter": "B", "num_options": 10**300}, "as 'num_options'"),
        ({"letter": "B", "num_options": 1}, "has 1 as 'num_options'"),
        ({"letter": "B", "duration": None}, "has None as 'duration', expected a text that is not empty"),
        ({"letter": "B", "duration": 12.5}, "has 12.5 as 'duration'"),
        ({"letter": "B", "video_id": ["v"]}, r"has \['v'\] as 'video_id'"),
        ({"letter": "B", "question_id": 3}, "has 3 as 'question_id'"),
        ({"letter": "B", "setting": ""}, "has '' as 'setting'"),
        ({"letter": "B", "status": "done"}, "line 1, is not a prediction: question q: status is 'done'"),
        ({"letter": "B", "status": ["ok"]}, "as 'status'"),
        ({"letter": "B", "task_type": {"a": 1}}, "as 'task_type', expected a text"),
        ({"letter": "B", "fps": float("nan")}, "has nan as 'fps', expected a number"),
        ({"letter": "B", "fps": 10**400}, "as 'fps', expected a number"),
        ({"letter": "B", "letter_logits": [0.1, None]}, "as 'letter_logits', expected a list of numbers"),
        ({"letter": "B", "letter_logits": [float("inf")]}, "as 'letter_logits'"),
        ({"letter": "B", "frames": "0"}, "has '0' as 'frames', expected a list of integers"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_one_sentence(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_predictions(hand_made(tmp_path, values))
    assert "line 1" in str(caught.value) and len(str(caught.value)) < 500 and "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["[" * 100_000, '{"question_id": ' + "9" * 5000 + "}", "\x00", "{'a': 1}"])
def test_a_line_that_no_parser_reads_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match="line 1, is not JSON"):
        read_predictions(path)


def test_a_question_that_is_answered_twice_is_refused(tmp_path: Path) -> None:
    first, second = {"letter": "A"}, {"letter": "B"}
    with pytest.raises(DataError, match=r"answers question q \(without_subtitles\) twice"):
        read_predictions(hand_made(tmp_path, first, second))
    assert len(read_predictions(hand_made(tmp_path, first, second | {"setting": "with_subtitles"}))) == 2


def test_answers_of_two_models_in_one_file_are_refused(tmp_path: Path) -> None:
    path = hand_made(tmp_path, {"letter": "A", "made_by": "m1"}, {"letter": "A", "question_id": "p", "made_by": "m2"})
    with pytest.raises(DataError, match="mixes answers of 2 models or settings"):
        read_predictions(path)


def test_an_error_text_can_never_be_an_answer() -> None:
    with pytest.raises(DataError, match="there is a response, a letter or a score"):
        row("1", status=ERROR, response="CUDA out of memory")


def test_pairs_are_the_common_questions_and_unanswered_ones_are_wrong() -> None:
    new = [row("1", letter="B"), row("2", letter=""), row("3", letter="B")]
    base = [row("2", letter="B"), row("1", letter="C")]
    assert paired_outcomes(new, base) == ([True, False], [False, True], ["001", "001"])


def test_pairs_of_different_benchmarks_are_refused() -> None:
    with pytest.raises(DataError, match="share no question"):
        paired_outcomes([row("1")], [row("2")])
    with pytest.raises(DataError, match="compare predictions of the same benchmark"):
        paired_outcomes([row("1")], [row("1", answer="C")])
