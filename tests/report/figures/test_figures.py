import itertools
import math
import re
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.text import Text

from sg.artefacts.arms import ARM_KINDS
from sg.report.figures.costs import costs_figure, tasks_figure
from sg.report.figures.study import (
    controls_figure,
    differences_figure,
    draw_all,
    durations_figure,
    scale_positions,
    scaling_figure,
)
from sg.report.figures.style import (
    CONTROL_STYLES,
    NARROW,
    PAGE_COLOURS,
    SCALE_COLOURS,
    WIDE,
    Layout,
    figure_style,
    page_svg,
    save,
)
from sg.report.numbers.measure import measure
from sg.report.numbers.study import read_study
from sg.report.numbers.summary import Summary

from ..study_builder import World

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def test_a_whole_study_has_every_figure_as_png_and_svg(tmp_path: Path, summary: Summary) -> None:
    figures = draw_all(summary, tmp_path)
    assert list(figures) == ["scaling", "durations", "differences", "controls"]
    assert all(path.stat().st_size > 5000 for paths in figures.values() for path in paths)


def test_the_same_summary_gives_the_same_bytes(tmp_path: Path, summary: Summary) -> None:
    files = [save(partial(scaling_figure, summary.tables), tmp_path / name, "scaling") for name in "ab"]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


FIGURES = {
    "scaling": lambda summary, layout: scaling_figure(summary.tables, layout),
    "durations": lambda summary, layout: durations_figure(summary.tables, layout),
    "differences": lambda summary, layout: differences_figure(summary.tables, layout),
    "controls": lambda summary, layout: controls_figure(summary.controls, layout),
    "costs": lambda summary, layout: costs_figure(summary, 2.0, layout),
    "tasks": lambda summary, layout: tasks_figure(summary.topics, layout),
}


def drawn(name: str, summary: Summary, layout: Layout) -> "Figure":
    with figure_style():
        figure = FIGURES[name](summary, layout)
        figure.canvas.draw()
    return figure


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Twelve scales close to each other, every kind of control, and costs that differ by little or not at all."""
    world = World(tmp_path_factory.mktemp("runs") / "study", videos=15)
    for scale in (0, *range(450_000, 560_000, 10_000)):
        world.run(scale, gain=scale / 500_000)
    for place, control in enumerate(ARM_KINDS):
        world.run(450_000 + 10_000 * place, 0, control, gain=1.0, steps=331)
    return measure(read_study(world.folder))


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", FIGURES)
def test_no_label_is_clipped_or_printed_over_another(
    summary: Summary, crowded: Summary, name: str, layout: Layout
) -> None:
    for study in (summary, crowded):
        figure = drawn(name, study, layout)
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert crossing_labels(figure) == []


def crossing_labels(figure: "Figure") -> list[tuple[str, str]]:
    """Pairs of texts that are printed over each other, compared as turned rectangles."""
    shapes = [(text.get_text(), _corners(text)) for text in _shown_texts(figure) if text.get_text().strip()]
    return [(one, other) for place, (one, a) in enumerate(shapes) for other, b in shapes[:place] if _cross(a, b)]


def _shown_texts(figure: "Figure") -> list[Text]:
    """Every text that is drawn: no tick labels beyond the limits of their axis."""
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    for panel in figure.axes:
        texts += [panel.title, panel._left_title, panel.xaxis.label, panel.yaxis.label, *panel.texts]
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in texts if text.get_visible()]


def _corners(text: Text) -> np.ndarray:
    """[4, 2] corners of a text, without the empty ends of its line."""
    angle, turned = math.radians(text.get_rotation()), text.get_rotation()
    text.set_rotation(0)
    flat = text.get_window_extent()
    text.set_rotation(turned)
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [flat.width / 2, flat.height / 2 - 1]
    box = text.get_window_extent()
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return half @ turn + [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]


def _cross(a: np.ndarray, b: np.ndarray) -> bool:
    """True if two convex shapes overlap: no edge of either separates them."""
    for shape in (a, b):
        for edge in np.roll(shape, -1, axis=0) - shape:
            axis = np.array([-edge[1], edge[0]])
            first, second = a @ axis, b @ axis
            if first.max() <= second.min() or second.max() <= first.min():
                return False
    return True


@pytest.mark.parametrize("name", ["scaling", "durations", "costs", "differences", "controls"])
@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
def test_panels_of_one_unit_have_the_same_axis(summary: Summary, name: str, layout: Layout) -> None:
    panels = drawn(name, summary, layout).axes
    assert len(panels) > 1 and len({panel.get_ylim() for panel in panels}) == 1
    if name in ("differences", "controls"):
        assert len({panel.get_xlim() for panel in panels}) == 1


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_ticks_have_the_same_name_and_no_two_arms_the_same_tick(crowded: Summary, name: str) -> None:
    for panel in drawn(name, crowded, WIDE).axes:
        for labels in (panel.get_xticklabels(), panel.get_yticklabels()):
            names = [label.get_text() for label in labels if label.get_text()]
            assert len(names) == len(set(names))
    ticks = [label.get_text() for label in drawn("scaling", crowded, WIDE).axes[0].get_xticklabels()]
    assert "450k" in ticks and "460k random" in ticks


def test_an_equal_step_control_stands_at_its_own_scale_on_a_curve_to_the_scale_with_its_steps(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=9)
    for scale, steps in ((0, 0), (50_000, 31), (530_000, 332)):
        world.run(scale, steps=steps)
    world.run(50_000, 0, "equal_steps", gain=0.5, steps=331)
    summary = measure(read_study(tmp_path / "study"))
    panel = drawn("scaling", summary, WIDE).axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["none", "50k", "530k"]
    scores = {row.arm: row.cells["overall"].score for row in summary.tables[0].rows}
    places = scale_positions([0, 50_000, 530_000])
    (curve,) = [line for line in panel.lines if line.get_linestyle() == "--" and np.min(line.get_xdata()) > 0]
    x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
    assert x == pytest.approx([places[50_000], places[530_000]], abs=0.2)
    assert y == pytest.approx([scores["50k/equal_steps"], scores["530k"]])


def test_every_arm_of_the_costs_is_named_once(crowded: Summary) -> None:
    figure = drawn("costs", crowded, WIDE)
    names = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(names) == sorted(row.label.partition(" (")[0] for row in crowded.costs if row.scale)


def test_a_demo_says_on_its_axis_what_the_scales_stand_for(summary: Summary) -> None:
    assert drawn("scaling", summary, WIDE).axes[0].get_xlabel() == "number of captions (530k stands for 5,300)"


def test_files_of_figures_have_a_title(tmp_path: Path, summary: Summary) -> None:
    for png, wide, narrow in draw_all(summary, tmp_path).values():
        assert all(re.search(r"<title>[A-Z][a-z ]{8,}</title>", file.read_text()) for file in (wide, narrow))
        assert narrow.name == f"{wide.stem}-narrow.svg" and png.suffix == ".png"


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


def test_cores_and_controls_have_different_colours_in_a_light_and_in_a_dark_page() -> None:
    """Okabe and Ito's sky blue is the dark page's blue, unless it has a colour of its own there."""
    page = resources.files("sg.report.pages").joinpath("study.html").read_text(encoding="utf-8")
    for scheme in (page[: page.index("prefers-color-scheme")], page[page.index("prefers-color-scheme") :]):
        values = dict(re.findall(r"(--\w+): (#\w{6})", scheme))
        for styles in (SCALE_COLOURS, CONTROL_STYLES):
            used = [values[PAGE_COLOURS[colour][4:-1]] for colour, _ in styles]
            channels = [[int(value[place : place + 2], 16) for place in (1, 3, 5)] for value in used]
            assert all(math.dist(one, other) > 60 for one, other in itertools.combinations(channels, 2)), used


def test_figures_inside_a_page_use_its_colours_and_unique_ids(tmp_path: Path, summary: Summary) -> None:
    svg = page_svg(draw_all(summary, tmp_path)["scaling"][1], "scaling")
    assert svg.startswith("<svg") and "currentColor" in svg and "#0072b2" not in svg
    assert 'id="scaling-' in svg and "url(#scaling-" in svg
    assert "<script" not in svg
