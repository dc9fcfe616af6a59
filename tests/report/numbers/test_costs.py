from dataclasses import replace
from pathlib import Path

import pytest

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.costs import device_hours, usd_a_caption
from sg.report.figures.costs import costs_figure, draw_costs, tasks_figure
from sg.report.numbers.summary import Summary
from sg.report.pages.exports import costs_csv, topics_csv
from sg.report.wording import hours_text


def test_device_hours_count_every_device() -> None:
    hours = device_hours({"align": 1800, "caption": 3600}, 900, {"accelerator": "gpu", "devices": 8})
    assert (hours.device, hours.stages, hours.evaluate, hours.total) == ("gpu", {"align": 4, "caption": 8}, 2, 14)


def test_the_price_of_a_caption_is_the_mean_of_the_file(tmp_path: Path) -> None:
    assert usd_a_caption(tmp_path / "none.parquet") is None
    rows = [CaptionRecord("a", "one", cost_usd=0.01), CaptionRecord("b", "two", cost_usd=0.03)]
    assert usd_a_caption(write_captions(tmp_path / "captions.parquet", rows)) == pytest.approx(0.02)


def test_every_finished_arm_has_its_costs(summary: Summary) -> None:
    rows = {row.arm: row for row in summary.costs}
    assert {"0", "50k", "530k", "50k/equal_steps", "100k/random"} <= set(rows)
    assert rows["0"].caption_usd == 0 and rows["50k"].caption_usd is None
    assert rows["50k"].hours == pytest.approx((3.5 + 12.25) / 3600)
    assert costs_csv(summary).count("\n") == len(rows) + 1


def test_every_task_type_is_compared_with_the_baseline(summary: Summary) -> None:
    rows = [row for row in summary.topics if row.arm == "530k" and row.kind == "task_type"]
    assert {(row.name, row.setting) for row in rows} == {
        ("Counting Problem", "without_subtitles"), ("Counting Problem", "with_subtitles"),
    }  # fmt: skip
    whole = summary.table("without_subtitles")
    assert whole is not None
    (cell,) = [row.cells["overall"] for row in whole.rows if row.arm == "530k"]
    (same,) = [row for row in rows if row.setting == "without_subtitles"]
    assert same.score == pytest.approx(cell.score) and same.delta == cell.delta
    assert "Counting Problem" in topics_csv(summary)


def test_dollars_are_drawn_only_where_there_are_prices(summary: Summary, tmp_path: Path) -> None:
    assert list(draw_costs(summary, tmp_path)) == ["costs", "tasks"]
    assert len(costs_figure(summary).axes) == 1
    assert len(costs_figure(summary, usd_per_hour=2.5).axes) == 2
    priced = replace(summary, costs=[replace(row, caption_usd=row.captions * 0.01) for row in summary.costs])
    assert len(costs_figure(priced).axes) == 2


def test_the_heat_map_has_one_panel_per_setting(summary: Summary) -> None:
    assert [axes.get_title(loc="left") for axes in tasks_figure(summary.topics).axes] == [
        "Without subtitles",
        "With subtitles",
    ]


@pytest.mark.parametrize(("hours", "text"), [(0.001, "3.6 s"), (0.5, "30 min"), (2.5, "2.5 h"), (1240, "1,240 h")])
def test_hours_are_written_in_a_fitting_unit(hours: float, text: str) -> None:
    assert hours_text(hours) == text
