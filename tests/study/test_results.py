"""A finished result is reused only with the scores of its own answers."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sg.artefacts.predictions import Prediction, PredictionWriter
from sg.artefacts.result import PREDICTIONS_FILE, RunResult, answers_record, write_result
from sg.core.identity import identity
from sg.evaluate.config import AnsweringConfig
from sg.evaluate.scoring import score
from sg.study.results import finished_result

SETTING = "without_subtitles"


def test_scores_that_are_not_those_of_the_answers_are_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [Prediction(f"q{n}", SETTING, "v", "short", "A", letter="AB"[n % 2], made_by="m") for n in range(6)]
    with PredictionWriter(tmp_path / PREDICTIONS_FILE, "m") as writer:
        writer.write(rows)
    work, scores = identity("result", settings={}, version=1), score(rows)[SETTING].percentages()
    answers = answers_record(rows, {SETTING: {}})
    result = RunResult("r", "s", 0, "0", 0, scores={SETTING: scores}, answers=answers, made_by=work.name)
    config: Any = SimpleNamespace(benchmark=SimpleNamespace(answering=AnsweringConfig(settings=[SETTING], probes=[])))
    write_result(tmp_path, result)
    assert finished_result(tmp_path, config, work) == result
    assert scores["overall"] == 50
    write_result(tmp_path, replace(result, scores={SETTING: {**scores, "overall": 99.9}}))
    assert finished_result(tmp_path, config, work) is None
    assert "result.json holds other scores than its answers give" in caplog.text
