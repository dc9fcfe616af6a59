import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg.report.figures.contact_sheets import ContactSheets, SheetCluster, SheetMember
from sg.report.figures.study import draw_all
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import conclude
from sg.report.pages.study import page_html, write_page

from ..browser import console, screenshot

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def html(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> str:
    figures = draw_all(summary, tmp_path_factory.mktemp("figures"))
    members = [
        SheetMember("clip", HOSTILE, "stays in the core", b"jpeg"),
        SheetMember(HOSTILE, "", "", None, "missing video"),
    ]
    gallery = ContactSheets(8, 24, [SheetCluster("Largest", "clip", 2, 0.5, members)])
    hostile = replace(summary, study=HOSTILE, notes=[HOSTILE], commands=[f"python train.py {HOSTILE}"])
    return page_html(hostile, conclude(hostile), figures, gallery, ["tables.csv"])


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]


def _tags(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    return tags


def test_hostile_text_is_shown_as_text_everywhere(html: str) -> None:
    assert "script" not in _tags(html).names
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6


def test_the_page_needs_no_network(html: str) -> None:
    links = set(_tags(html).links) - {"gallery/index.html"}
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert "default-src 'none'" in html
    assert "@import" not in html and not re.search(r"url\((?!#)", html)


def test_ids_of_two_figures_are_different(html: str) -> None:
    glyphs = re.findall(r'\bid="([^"]+)"', html)
    scaling = {name for name in glyphs if name.startswith("scaling-")}
    assert scaling and scaling.isdisjoint(name for name in glyphs if name.startswith("durations-"))


def test_every_reference_inside_the_page_has_its_target(html: str) -> None:
    targets = set(re.findall(r'\bid="([^"]+)"', html))
    references = set(re.findall(r'href="#([^"]+)"', html)) | set(re.findall(r"url\(#([^)]+)\)", html))
    assert references <= targets


def test_the_page_contains_commands_fingerprints_and_versions(html: str, summary: Summary) -> None:
    assert "python train.py" in html
    for run in summary.runs:
        assert all(key in html for key in run.fingerprints.values())
    assert "torch 2.13.0" in html


def test_a_study_of_failed_runs_has_a_page(tmp_path: Path, summary: Summary) -> None:
    failed = [replace(run, status="failed", reason="no disk", scores={}) for run in summary.runs]
    empty = replace(summary, tables=[], controls=[], probes=[], letters=[], runs=failed)
    page = write_page(tmp_path, empty, conclude(empty), {}, None, [])
    assert "no disk" in page.read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_page_opens_in_a_browser_without_an_error(tmp_path: Path, html: str) -> None:
    (tmp_path / "index.html").write_text(html)
    assert console(tmp_path / "index.html", tmp_path) == []
    light, dark, phone = (
        Image.open(screenshot(tmp_path / "index.html", tmp_path, width, 900, is_dark)).convert("L")
        for width, is_dark in ((1100, False), (1100, True), (500, False))
    )
    assert np.asarray(light).mean() > 200 > 80 > np.asarray(dark).mean()
    assert np.asarray(phone)[:, -4:].std() < 10, "something is wider than the window"
