import json
from pathlib import Path

import pytest

from sg.artefacts.result import RunResult, StageResult, read_result, write_result
from sg.core.errors import DataError, MissingInputError


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
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": "blue"}))
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
