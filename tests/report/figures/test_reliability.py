"""The reliability diagram: bins of the first and the last arm, without letters that mean nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sg.artefacts.answer_rules.calibration import Likelihood, calibration_of
from sg.report.figures.reliability import draw_reliability, reliability_figure, shown_rows
from sg.report.figures.style import NARROW
from sg.report.numbers.load import published_summary
from sg.report.numbers.records import load_record, save_record
from sg.report.numbers.summary import CalibrationRow, Summary


def row(arm: str, of: str, values: Sequence[float], chosen: int, control: str | None = None) -> CalibrationRow:
    found = calibration_of([Likelihood(values, at % 2, chosen) for at in range(20)])
    assert found is not None
    return CalibrationRow("without_subtitles", of, arm, arm, control, found)


def summary(*rows: CalibrationRow) -> Summary:
    return replace(published_summary(), calibrations=list(rows))


def test_the_first_and_the_last_arm_are_drawn_and_controls_are_not(tmp_path: Path) -> None:
    rows = [row(arm, "text", (0.0, -2.0), 0) for arm in ("0", "50k", "100k")]
    found = summary(*rows, row("50k/equal_steps", "text", (0.0, -2.0), 0, "equal_steps"))
    assert [one.arm for one in shown_rows(found)] == ["0", "100k"]
    files = draw_reliability(found, tmp_path)["reliability"]
    assert [file.name for file in files] == ["reliability.png", "reliability.svg", "reliability-narrow.svg"]
    (panel,) = reliability_figure(shown_rows(found), NARROW).axes
    assert list(panel.get_legend_handles_labels()[1]) == ["as right as sure", "0", "100k"]


def test_letters_are_left_out_where_answers_do_not_begin_with_them(tmp_path: Path) -> None:
    texts = row("0", "text", (0.0, -2.0), 0)
    assert shown_rows(summary(row("0", "letter", (0.0, -2.0), 0), texts)) != [texts]
    assert shown_rows(summary(row("0", "letter", (0.0, -2.0), 1), texts)) == [texts]
    assert draw_reliability(summary(row("0", "letter", (0.0, -2.0), 1)), tmp_path) == {}


def test_the_summary_is_read_back(tmp_path: Path) -> None:
    found = summary(row("0", "text", (0.0, -2.0), 0))
    save_record(tmp_path / "summary.json", found)
    assert load_record(Summary, tmp_path / "summary.json").calibrations == found.calibrations
