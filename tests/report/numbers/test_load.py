from pathlib import Path

import pytest

from sg.core.errors import MissingInputError
from sg.report.numbers.load import load_summary, published_summary
from sg.report.numbers.published import published_deltas, read_published
from sg.report.numbers.summary import Summary, write_summary
from sg.report.pages.conclusion import conclude

from ..study_builder import World


def test_the_published_study_is_measured_from_its_counts() -> None:
    summary = load_summary("published")
    rows = summary.tables[0].rows
    assert [row.scale_label for row in rows] == ["0", "50k", "100k", "200k", "400k", "530k"]
    cell = rows[2].cells["overall"]
    assert cell.delta is not None
    assert (cell.delta.value, round(cell.delta.p or 0, 3)) == (
        pytest.approx(2.0),
        0.027,
        # `docs/reference/video_mme.md`, section 6, d=.22
    )


def test_the_report_and_the_claims_have_the_same_intervals_of_published_differences() -> None:
    deltas = {(delta.setting, delta.scale, delta.bucket): delta for delta in published_deltas(read_published(), 0.22)}
    for table in published_summary(0.22).tables:
        for row in table.rows[1:]:
            for bucket, cell in row.cells.items():
                claimed, shown = deltas[table.setting, row.scale, bucket], cell.delta
                assert shown is not None
                assert (shown.value, shown.low, shown.high, shown.p) == (
                    claimed.value, claimed.low, claimed.high, claimed.p
                )  # fmt: skip


def test_no_published_difference_holds_after_holm() -> None:
    for discordance in (0.15, 0.22):
        cells = [row.cells["overall"] for table in published_summary(discordance).tables for row in table.rows]
        assert all(cell.p_holm is None or cell.p_holm > 0.05 for cell in cells)


def test_a_constant_describes_the_published_means_about_as_well_as_a_step() -> None:
    without, with_subtitles = (table.shapes for table in published_summary().tables)
    assert [shape.name for shape in without][:2] == [shape.name for shape in with_subtitles][:2] == ["step", "constant"]
    # The AIC of the step is that of `docs/reference/video_mme.md`, section 6.
    assert [shapes[0].aic for shapes in (without, with_subtitles)] == pytest.approx([6.8, 4.4], abs=0.05)
    gaps = [(shapes[1].aic or 0) - (shapes[0].aic or 0) for shapes in (without, with_subtitles)]
    assert gaps == pytest.approx([2.2, 1.1], abs=0.05)
    assert all((shape.p or 0) > 0.05 for shapes in (without, with_subtitles) for shape in shapes)


def test_the_verdict_on_the_published_study_claims_no_effect() -> None:
    conclusion = conclude(load_summary("published"))
    assert conclusion.tone == "unclear"
    assert conclusion.verdict.startswith("No effect of caption training is resolved")


def test_a_committed_summary_and_a_folder_of_runs_are_loaded_alike(tmp_path: Path, summary: Summary) -> None:
    write_summary(tmp_path / "a" / "summary.json", summary)
    assert load_summary(tmp_path / "a") == load_summary(str(tmp_path / "a" / "summary.json")) == summary
    World(tmp_path / "study", videos=9).run(0)
    assert load_summary(tmp_path / "study").study == "study"


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        load_summary(tmp_path / "nothing")
