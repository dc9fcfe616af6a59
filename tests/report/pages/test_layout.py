"""How the page of a study looks in a browser: measured at the widths of a desk, a tablet and a phone."""

from pathlib import Path

import pytest

from sg.report.write import write_report
from tests.browser import Browser, check_look

from ..study_builder import World, record_inputs, write_corpus

WIDTHS = (1280, 860, 700, 420, 320)

NARROW_FIGURES = """[...document.querySelectorAll("figure")].map((figure) => {
  const [shown, ...others] = [...figure.querySelectorAll("svg")].filter((svg) => svg.checkVisibility());
  return [others.length, shown.getBoundingClientRect().width / figure.clientWidth];
})"""
FIRST_FIGURE = """(() => {
  const figure = document.querySelector("figure");
  const box = [...figure.querySelectorAll("svg")].find((svg) => svg.checkVisibility()).getBoundingClientRect();
  const title = figure.querySelector("h3").textContent;
  return { title, top: box.top, panel: box.top + box.height / 2, bottom: box.bottom };
})()"""
TEXT_HEIGHT = """Math.min(...[...document.querySelectorAll("figure svg")].filter((svg) => svg.checkVisibility())
  .map((svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study with every section: controls, probes, costs, clusters, a failed run."""
    folder = tmp_path_factory.mktemp("runs") / "demo_scaling-2e0ceb93"
    world = World(folder, videos=15)
    for scale in (0, 50_000, 530_000):
        world.run(scale, gain=scale / 500_000)
    world.run(50_000, 0, "equal_steps", gain=0.9, steps=331)
    world.run(
        100_000, reason="CUDA out of memory at step 12 of a stage with_a_long_name_that_cannot_be_broken_anywhere"
    )
    inputs = write_corpus(folder.parent / "corpus")
    record_inputs(folder, inputs)
    return write_report(folder).page


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_outside_the_window_hidden_or_hard_to_read(page: Path, browser: Browser, width: int) -> None:
    check_look(browser, page, width)


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_fills_its_card_and_its_text_can_be_read(page: Path, browser: Browser, width: int) -> None:
    tab = browser.open(page, width)
    found = tab.run(NARROW_FIGURES)
    assert len(found) >= 8
    assert all(others == 0 and filled > 0.99 for others, filled in found)
    first = tab.run(FIRST_FIGURE)  # effect and control are on the first screen
    assert first["title"] == "Accuracy by number of captions"
    assert first[{1280: "bottom", 860: "bottom", 420: "panel"}.get(width, "top")] < 900
    # Labels have 7.5 points or more, and a point of a figure is at least this many pixels.
    assert tab.run(TEXT_HEIGHT) * 7.5 >= (7.5 if width >= 420 else 6.0)


@pytest.mark.slow
def test_a_phone_shows_every_cell_with_the_name_of_its_column(page: Path, browser: Browser) -> None:
    tab = browser.open(page, 420)
    unnamed = """[...document.querySelectorAll(".stack td")].filter((one) => one.textContent.trim())
      .filter((one) => !one.closest("details") && !one.dataset.label && !(one.colSpan > 1))
      .map((one) => one.outerHTML)"""
    assert tab.run(unnamed) == []
    assert tab.run("[...document.querySelectorAll('.stack td[data-label=Long]')].every((one) => one.checkVisibility())")
    lines = "document.querySelector('.verdict strong').getClientRects().length"
    assert 1 <= tab.run(lines) <= 4


@pytest.mark.slow
def test_a_picture_is_enlarged_by_a_click_or_the_space_bar_and_made_small_again(page: Path, browser: Browser) -> None:
    tab = browser.open(page, 1280)
    width = "document.querySelector('.zoom img').getBoundingClientRect().width"
    small = tab.run(width)
    tab.run("document.querySelector('.zoom img').click()")
    assert tab.run(width) == 1280 > 3 * small
    tab.run("document.querySelector('.zoom input').click()")
    assert tab.run(width) == small
