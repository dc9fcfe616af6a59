"""What a point of caption precision is worth in captions, from studies that differ in their captioner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.judged import FALSE, TRUE, JudgedCaption, judged_path, write_judged
from sg.artefacts.result import RESULT_FILE, read_result, write_result
from sg.report.ladder.numbers import measure_ladder
from sg.report.ladder.page import ladder_markdown
from sg.report.ladder.studies import read_ladder
from sg.report.ladder.worth import _fit
from sg.report.ladder.write import write_ladder
from sg.report.numbers.held_out import HELD_OUT
from tests.report.ladder.builder import write_member


def test_the_slopes_and_their_ratio_are_recovered_with_their_intervals() -> None:
    x = np.array([[1.0, p, d] for p in (80.0, 90.0, 100.0) for d in (8.0, 9.0, 10.0)])
    truth, errors = np.array([5.0, -0.02, -0.1]), 1e-4 * np.eye(9)
    draws, inside = np.random.default_rng(3), 0
    for _ in range(40):
        point, doubling, more = _fit(x, x @ truth + draws.normal(0, 0.01, 9), errors, 100.0)
        assert more is not None and point.is_negative and doubling.is_negative
        inside += more.low <= 100 * (2**0.2 - 1) <= more.high
    assert inside >= 34, "95 % intervals of 40 experiments"
    flat, _, unknown = _fit(x, x @ np.array([5.0, -0.02, 0.0]), errors, 100.0)
    assert flat.value == pytest.approx(-0.02) and unknown is None


def member(folder: Path, noise: float, quality: float, usd: float = 0.001) -> Path:
    """A study whose captions have `noise` of false claims, 2 in 10 or so."""
    settings = {"captioner": {"class": "demo", "noise_rate": noise}}
    study = write_member(folder, quality=quality, scales=(50_000, 530_000), control=True, **settings)
    captions = folder / "captions" / "captions.parquet"
    write_captions(captions, [CaptionRecord(f"v{n}", "text", "m", "1", cost_usd=usd) for n in range(4)])
    false = round(10 * noise)
    verdicts = (FALSE,) * false + (TRUE,) * (10 - false)
    rows = [JudgedCaption(f"v{n}", "facts", ("c",) * 10, verdicts) for n in range(4)]
    write_judged(judged_path(captions, "facts"), rows, {})
    for path in study.glob(f"*/{RESULT_FILE}"):
        write_result(path.parent, replace(read_result(path), inputs={"captions": str(captions)}))
    return study


def test_a_ladder_of_captioners_says_what_precision_is_worth(tmp_path: Path) -> None:
    studies = [member(tmp_path / "good", 0.0, 1.0), member(tmp_path / "bad", 0.2, 0.0)]
    summary = measure_ladder(read_ladder(studies))
    worth = {row.metric: row for row in summary.worth}
    found = worth[HELD_OUT]
    assert sorted(found.precisions.values()) == [80.0, 100.0] and found.usd_per_thousand == pytest.approx(1.0)
    # `quality` 1 lowers the loss by 0.1, which is 20 points of precision here.
    assert found.per_point.value == pytest.approx(-0.005, abs=0.0005) and found.per_point.is_negative
    assert found.per_doubling.is_negative and found.more_captions is not None and found.more_captions.low > 0
    text = ladder_markdown(summary)
    assert "## What a point of caption precision is worth" in text and "$1.000 per 1,000" in text
    assert "captioner.noise_rate=0.2 (80.0 %)" in text
    assert "Ladder:" in write_ladder(studies)


def test_captions_that_nobody_judged_have_no_worth(tmp_path: Path) -> None:
    studies = [member(tmp_path / "good", 0.0, 1.0), member(tmp_path / "bad", 0.2, 0.0)]
    next((tmp_path / "bad").rglob("judged-facts.parquet")).unlink()
    summary = measure_ladder(read_ladder(studies))
    assert summary.worth == [] and "is worth" not in ladder_markdown(summary)
