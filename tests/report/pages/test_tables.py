import csv
import io
from dataclasses import replace

import pytest

from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import Cell, Summary
from sg.report.pages.conclusion import conclude
from sg.report.pages.exports import CSV_COLUMNS, markdown, runs_csv, tables_csv
from sg.report.pages.tables import cell_delta, cell_score, published_text, terminal_text
from sg.report.wording import duration_text, joined, p_text, plural, signed, size_text


def test_the_terminal_text_fits_its_lines_and_holds_both_tables(summary: Summary) -> None:
    text = terminal_text(summary, conclude(summary))
    assert max(len(line) for line in text.splitlines()) <= 110
    for part in ("Without subtitles (270 questions)", "With subtitles", "50k equal-step", "100k random", "Leak probes"):
        assert part in text
    assert "1 seed failed: CUDA out of memory" in text


def test_columns_of_the_terminal_tables_never_join(summary: Summary) -> None:
    wide = Estimate(-12.34, -15.67, -10.01, 1.0, 0.001)
    cells = {name: replace(cell, delta=wide, p_holm=0.01) for name, cell in summary.tables[0].rows[1].cells.items()}
    table = replace(summary.tables[0], rows=[replace(summary.tables[0].rows[1], cells=cells)])
    lines = terminal_text(replace(summary, tables=[table]), conclude(summary)).splitlines()
    line = next(line for line in lines if "-12.3" in line)
    assert line.count("[-15.7, -10.0]* ") == 3


def test_a_cell_shows_the_spread_only_for_several_seeds() -> None:
    assert cell_score(Cell(score=38.04, seed_spread=0.61)) == "38.0 ±0.6"
    assert cell_score(Cell(score=38.04)) == "38.0"
    assert cell_score(Cell()) == "–"


def test_the_star_marks_differences_significant_after_holm() -> None:
    delta = Estimate(9.02, 6.6, 11.5, 1.2, 0.0001)
    assert cell_delta(Cell(delta=delta, p_holm=0.01)) == "+9.0 [+6.6, +11.5]*"
    assert cell_delta(Cell(delta=delta, p_holm=0.2)) == "+9.0 [+6.6, +11.5]"
    assert cell_delta(Cell()) == ""


def test_a_published_misprint_is_marked() -> None:
    assert published_text(Cell(published=47.6, published_delta=0.7, published_slip="…")) == "47.6 +0.7 (misprint)"
    assert published_text(Cell(published=41.2)) == "41.2"


def test_the_csv_has_a_row_for_every_arm_setting_and_bucket(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(tables_csv(summary))))
    assert len(rows) == 2 * 8 * 4
    assert tuple(rows[0]) == CSV_COLUMNS
    largest = next(row for row in rows if (row["scale"], row["bucket"]) == ("530000", "overall"))
    delta = summary.tables[0].rows[5].cells["overall"].delta
    assert delta is not None and float(largest["delta"]) == delta.value


def test_every_run_is_in_the_csv_of_runs(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(runs_csv(summary))))
    assert len(rows) == 24
    assert [row["status"] for row in rows].count("failed") == 1


def test_markdown_shows_hostile_text_as_text(summary: Summary) -> None:
    hostile = replace(summary, study="<script>alert(1)</script> | a")
    text = markdown(hostile, conclude(hostile))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\| a" in text


def test_markdown_tables_have_as_many_cells_as_columns(summary: Summary) -> None:
    lines = [line for line in markdown(summary, conclude(summary)).splitlines() if line.startswith("|")]
    for line in lines:
        assert line.replace("\\|", "").count("|") in (7, 6, 5)


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.0"), (-0.04, "0.0"), (1.25, "+1.2"), (-3.06, "-3.1")])
def test_a_value_that_rounds_to_zero_has_no_sign(value: float, text: str) -> None:
    assert signed(value) == text


def test_numbers_are_written_with_their_unit() -> None:
    assert p_text(0.0004) == "p < .001"
    assert p_text(0.045) == "p = .045"
    assert p_text(1.0) == "p = 1.000"
    assert duration_text(41) == "41 s" and duration_text(600) == "10 min" and duration_text(9000) == "2.5 h"
    assert plural(1, "seed") == "1 seed" and plural(2700, "question") == "2,700 questions"
    assert joined(["a", "b", "c"]) == "a, b and c" and joined([]) == ""
    assert size_text(Estimate(-2.0, -3.0, -1.0, 0.5)) == "2.0 [1.0, 3.0]"
