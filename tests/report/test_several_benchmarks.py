"""A study with two benchmarks: both are found, compared in one table, and corrected as one family."""

from dataclasses import replace
from pathlib import Path

import pytest

from sg.artefacts.predictions import OVERALL
from sg.artefacts.result import (
    RESULT_FILE,
    further_study,
    read_result,
    studies_of_all_benchmarks,
    write_result,
)
from sg.report.numbers.measure import measure, measure_together
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import Summary
from sg.report.pages.benchmarks import benchmark_rows, benchmarks_csv, benchmarks_text

from .study_builder import World


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "demo_scaling"
    for folder, videos, name in ((path, 15, "demo"), (further_study(path, "other"), 9, "other")):
        world = World(folder, videos, name, probes=False)
        for scale, gain in ((0, 0.0), (50_000, 0.4), (530_000, 1.2)):
            world.run(scale, gain=gain)
        world.run(50_000, 0, "equal_steps", gain=0.9, steps=331)
    return path


def p_values(summaries: list[Summary]) -> tuple[list[float], list[float]]:
    """p of all planned comparisons, as they are and adjusted."""
    found: list[tuple[float, float]] = []
    for summary in summaries:
        cells = [row.cells[OVERALL] for table in summary.tables for row in table.rows if row.control is None]
        found += [(cell.delta.p or 0.0, cell.p_holm or 0.0) for cell in cells if cell.delta is not None]
        found += [(row.difference.p or 0.0, row.p_holm or 0.0) for row in summary.controls]
    return [p for p, _ in found], [p for _, p in found]


def test_the_studies_of_all_benchmarks_are_found_from_any_of_them(study: Path) -> None:
    further = further_study(study, "other")
    assert studies_of_all_benchmarks(study) == studies_of_all_benchmarks(further) == [study, further]
    assert read_study(study).benchmark == "demo"  # the runs of the other one are not runs of this study
    assert {run.benchmark for run in read_study(further).runs} == {"other"}


def test_holm_is_over_the_planned_comparisons_of_both(study: Path) -> None:
    studies = [read_study(folder) for folder in studies_of_all_benchmarks(study)]
    plain, adjusted = p_values(measure_together(studies))
    assert len(plain) == 12  # two settings, two scales and a control, two benchmarks
    assert adjusted == pytest.approx(holm(plain))
    _, alone = p_values([measure(studies[0])])
    assert sum(adjusted[: len(alone)]) > sum(alone)


def test_the_benchmarks_are_compared_in_one_table_that_leads_to_their_reports(study: Path) -> None:
    summaries = measure_together([read_study(folder) for folder in studies_of_all_benchmarks(study)])
    rows = benchmark_rows(summaries)
    assert [(row.benchmark, row.setting) for row in rows] == [
        (name, setting) for name in ("demo", "other") for setting in ("without_subtitles", "with_subtitles")
    ]
    assert {row.page for row in rows} == {"index.html", "../benchmarks/other/report/index.html"}
    assert all(row.label.startswith("530k") for row in rows)
    text = benchmarks_text(rows)
    assert text.startswith("All benchmarks") and rows[2].difference in text
    assert benchmarks_csv(rows).count("\n") == 5
    assert benchmark_rows(summaries[:1]) == []


def test_a_study_of_one_benchmark_is_itself_only(tmp_path: Path) -> None:
    path = World(tmp_path / "study", 3).run(0)
    write_result(path, replace(read_result(path / RESULT_FILE), benchmark="mvbench"))
    assert studies_of_all_benchmarks(tmp_path / "study") == [tmp_path / "study"]
