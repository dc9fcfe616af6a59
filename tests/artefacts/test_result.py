from pathlib import Path

import pytest

from sg.artefacts.predictions import Prediction
from sg.artefacts.result import RunResult, StageResult, answers_record, read_answers_of, read_result, write_result
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json, write_record


def _result(**changes: object) -> RunResult:
    values = {"run": "50k-seed0", "study": "demo", "scale": 50_000, "scale_label": "50k", "seed": 0} | changes
    return RunResult(**values)  # type: ignore[arg-type]


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    result = _result(
        control="equal_steps",
        steps={"align": 38, "caption": 320},
        stages={"align": StageResult("ab" * 8, True, 1.5)},
        scores={"without_subtitles": {"overall": 36.3}},
        config={"data": {"scale": "50k"}},
    )
    write_result(tmp_path, result)
    assert read_result(tmp_path) == result
    assert read_result(tmp_path / "result.json") == result


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    write_result(tmp_path, _result())
    file = tmp_path / "result.json"
    write_record(file, read_json(file) | {"colour": "blue"})
    assert read_result(tmp_path) == _result()


def test_a_missing_result_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no result at"):
        read_result(tmp_path)


@pytest.mark.parametrize("content", ["[1, 2]", '{"run": "x"}', "{", '{"stages": 3}'])
def test_a_file_that_is_not_a_result_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(DataError, match=r"result\.json"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("change", "word"), [({"scale": -1}, "scale"), ({"control": "none"}, "control"), ({"status": "ok"}, "status")]
)
def test_values_that_the_report_would_misread_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(DataError, match=word):
        _result(**change)


def test_only_the_run_without_captions_and_control_is_the_baseline() -> None:
    assert _result(scale=0, scale_label="0").is_baseline
    assert not _result().is_baseline


def _answered(folder: Path, count: int = 6, letter: str = "A") -> list[Prediction]:
    rows = [
        Prediction(f"q{n}", "with_subtitles", "v", "short", "A", letter=letter, response=letter) for n in range(count)
    ]
    (folder / "predictions.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
    return rows


def test_a_result_knows_the_answers_that_its_scores_were_computed_from(tmp_path: Path) -> None:
    scores = {"with_subtitles": {"overall": 100.0}}
    result = _result(scores=scores, answers=answers_record(_answered(tmp_path), scores))
    write_result(tmp_path, result)
    assert read_result(tmp_path) == result
    assert len(read_answers_of(tmp_path, result)) == 6
    probe = Prediction("q0", "no_video", "v", "short", "A", letter="B", response="B")
    with (tmp_path / "predictions.jsonl").open("a") as stream:
        stream.write(probe.to_json() + "\n")  # a probe that is asked later changes no score
    assert len(read_answers_of(tmp_path, result)) == 7


@pytest.mark.parametrize(
    ("count", "letter", "problem"), [(2, "A", "2 of the 6 answers"), (6, "B", "other answers than those")]
)
def test_answers_that_were_lost_or_changed_are_not_read(tmp_path: Path, count: int, letter: str, problem: str) -> None:
    scores = {"with_subtitles": {"overall": 100.0}}
    result = _result(scores=scores, answers=answers_record(_answered(tmp_path), scores))
    _answered(tmp_path, count, letter)
    with pytest.raises(DataError, match=rf"predictions\.jsonl holds {problem}.*run the same command again"):
        read_answers_of(tmp_path, result)
