"""captioner=judged lets only captions pass that a judge has found good enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions, write_captions
from sg.artefacts.judged import judged_path, read_judged
from sg.caption.captioners import captioner_of
from sg.caption.judge.run import judge_captions
from sg.caption.local.demo import DemoCaptionerConfig
from sg.caption.local.judged import JudgedCaptionerConfig
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from tests.caption.judge.test_facts import data_with, drawn

CSV = LoggerConfig(kind="csv")
NOISY = DemoCaptionerConfig(noise="wrong_attribute", noise_rate=0.2)


def judged(folder: Path) -> tuple[DataConfig, Path]:
    data = data_with(folder, drawn(40))
    judge_captions(data, NOISY, None, CSV)
    return data, judged_path(captioner_of(NOISY).captions(data), "facts")


def test_captions_below_a_score_are_left_out_and_the_others_are_unchanged(tmp_path: Path) -> None:
    data, path = judged(tmp_path)
    before = dict(read_captions(captioner_of(NOISY).captions(data)))
    config = JudgedCaptionerConfig(judged=str(path), min_scores={"precision": 0.9})
    after = dict(read_captions(captioner_of(config).captions(data)))
    good = {row.video_id for row in read_judged(path) if row.precision >= 0.9}
    assert 0 < len(good) < 40 and set(after) == good
    assert after == {name: before[name] for name in after}
    stricter = JudgedCaptionerConfig(judged=str(path), min_scores={"precision": 0.9, "recall": 0.95})
    assert set(read_captions(captioner_of(stricter).captions(data))) < good
    assert captioner_of(stricter).captions(data) != captioner_of(config).captions(data)


def test_other_scores_make_another_selection(tmp_path: Path) -> None:
    data, path = judged(tmp_path)
    config = JudgedCaptionerConfig(judged=str(path), min_scores={"precision": 0.9})
    before = captioner_of(config).captions(data).read_bytes()
    rows = path.read_bytes()
    judge_captions(data, NOISY, None, CSV, union=[captioner_of(NOISY).captions(data)])
    assert path.read_bytes() != rows
    captioner = captioner_of(JudgedCaptionerConfig(judged=str(path), min_scores={"precision": 0.9}))
    assert captioner.captions(data).read_bytes() != before or captioner.recipe != captioner_of(config).recipe


def test_scores_of_captions_that_have_changed_are_refused(tmp_path: Path) -> None:
    data, path = judged(tmp_path)
    captions = captioner_of(NOISY).captions(data)
    rows = [replace(row, caption=f"{row.caption} Again.") for row in read_captions(captions).records()]
    write_captions(captions, rows, {})
    with pytest.raises(DataError, match=r"judged other captions than those that .*captions\.parquet holds now"):
        captioner_of(JudgedCaptionerConfig(judged=str(path), min_scores={"precision": 0.9})).captions(data)


def test_a_gate_without_scores_or_captions_is_one_sentence(tmp_path: Path) -> None:
    data, path = judged(tmp_path)
    with pytest.raises(DataError, match="None of the 40 captions"):
        captioner_of(JudgedCaptionerConfig(judged=str(path), min_scores={"f1": 1.1})).captions(data)
    with pytest.raises(MissingInputError, match="none"):
        captioner_of(
            JudgedCaptionerConfig(judged=str(path.with_name("none.parquet")), min_scores={"f1": 0.5})
        ).captions(data)
    with pytest.raises(MissingInputError, match=r"elsewhere/judged\.parquet"):
        captioner_of(
            JudgedCaptionerConfig(judged=str(tmp_path / "elsewhere/judged.parquet"), min_scores={"f1": 0.5})
        ).captions(data)
    with pytest.raises(ConfigError, match="lets every caption pass"):
        JudgedCaptionerConfig(judged=str(path))
    with pytest.raises(ConfigError, match=r"captioner\.min_scores"):
        JudgedCaptionerConfig(judged=str(path), min_scores={"beauty": 1})
