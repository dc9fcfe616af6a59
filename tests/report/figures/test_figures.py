from pathlib import Path

import pytest

from sg.report.figures.costs import costs_figure, tasks_figure
from sg.report.figures.study import (
    controls_figure,
    differences_figure,
    draw_all,
    durations_figure,
    scale_positions,
    scaling_figure,
)
from sg.report.figures.style import figure_style, page_svg
from sg.report.numbers.measure import measure
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import Summary

from ..study_builder import World


def test_a_whole_study_has_every_figure_as_png_and_svg(tmp_path: Path, summary: Summary) -> None:
    figures = draw_all(summary, tmp_path)
    assert list(figures) == ["scaling", "durations", "differences", "controls"]
    assert all(path.stat().st_size > 5000 for paths in figures.values() for path in paths)


def test_the_same_summary_gives_the_same_bytes(tmp_path: Path, summary: Summary) -> None:
    first, second = (scaling_figure(summary.tables) for _ in range(2))
    from sg.report.figures.style import save

    files = [save(figure, tmp_path / name, "scaling") for figure, name in ((first, "a"), (second, "b"))]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


@pytest.mark.parametrize("name", ["scaling", "durations", "differences", "controls", "costs", "tasks"])
def test_no_label_is_clipped(summary: Summary, name: str) -> None:
    draw = {
        "scaling": lambda: scaling_figure(summary.tables),
        "durations": lambda: durations_figure(summary.tables),
        "differences": lambda: differences_figure(summary.tables),
        "controls": lambda: controls_figure(summary.controls),
        "costs": lambda: costs_figure(summary, usd_per_hour=2.0),
        "tasks": lambda: tasks_figure(summary.topics),
    }
    with figure_style():
        figure = draw[name]()
        figure.canvas.draw()
        box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_no_panel_is_empty(summary: Summary) -> None:
    for figure in (scaling_figure(summary.tables), durations_figure(summary.tables)):
        assert all(axes.lines for axes in figure.axes)


def test_scales_are_placed_by_doublings_with_room_for_their_labels() -> None:
    places = scale_positions([0, 50_000, 100_000, 400_000, 530_000, 540_000])
    assert (places[0], places[50_000], places[100_000], places[400_000]) == (0, 1, 2, 4)
    assert places[530_000] - places[400_000] == places[540_000] - places[530_000] == 0.75


def test_a_study_without_baseline_or_controls_has_its_curve_only(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=9).run(50_000)
    assert list(draw_all(measure(read_study(tmp_path / "study")), tmp_path / "figures")) == ["scaling"]


def test_a_study_without_scores_has_no_figures(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=9).run(50_000, reason="stopped")
    assert draw_all(measure(read_study(tmp_path / "study")), tmp_path / "figures") == {}


def test_published_points_are_drawn_for_video_mme(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9, benchmark="video_mme")
    world.run(0)
    world.run(50_000)
    figure = scaling_figure(measure(read_study(tmp_path / "study")).tables)
    assert "published" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_figures_inside_a_page_use_its_colours_and_unique_ids(tmp_path: Path, summary: Summary) -> None:
    svg = page_svg(draw_all(summary, tmp_path)["scaling"][1], "scaling")
    assert svg.startswith("<svg") and "currentColor" in svg and "#0072b2" not in svg
    assert 'id="scaling-' in svg and "url(#scaling-" in svg
    assert "<script" not in svg
