import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sg.report.figures.contact_sheets import ContactSheets, SheetCluster, SheetMember
from sg.report.figures.study import draw_all
from sg.report.numbers.summary import Summary
from sg.report.pages.conclusion import conclude
from sg.report.pages.study import page_html, write_page

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def html(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> str:
    figures = draw_all(summary, tmp_path_factory.mktemp("figures"))
    members = [
        SheetMember("my%20clip", HOSTILE, "stays in the core", b"jpeg"),
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


def test_ids_are_shown_as_people_wrote_them(html: str) -> None:
    assert '<b title="my%20clip">my clip</b>' in html


def test_hostile_text_is_shown_as_text_everywhere(html: str) -> None:
    assert "script" not in _tags(html).names
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6


def test_the_page_needs_no_network(html: str) -> None:
    links = set(_tags(html).links) - {"gallery/index.html"}
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert "default-src 'none'" in html
    assert "@import" not in html and not re.search(r"url\((?!#)", html)


def test_every_figure_is_an_image_with_a_title(html: str) -> None:
    figures = re.findall(r"<svg[^>]*>\s*<title[^>]*>[^<]*", html)
    assert len(figures) == len(re.findall("<svg", html)) == 8
    for figure in figures:
        assert 'role="img"' in figure
        (named,) = re.findall(r'aria-labelledby="([^"]+)"', figure)
        assert re.search(rf'<title id="{named}">[A-Z][a-z ]+', figure)


def test_the_heading_is_the_name_of_the_study_without_its_hash(summary: Summary) -> None:
    named = replace(summary, study="my_clips_scaling-2e0ceb93")
    page = page_html(named, conclude(named), {})
    assert "<h1>My clips scaling</h1>" in page and "<title>My clips scaling" in page
    assert "my_clips_scaling-2e0ceb93" in page, "the folder is named too"


def test_one_plain_sentence_stands_above_the_verdict_and_only_it_is_bold(html: str, summary: Summary) -> None:
    (verdict,) = re.findall(r'<section class="card verdict.*?</section>', html)
    (bold,) = re.findall("<strong>(.*?)</strong>", verdict)
    assert bold == conclude(summary).headline and not re.search(r"\d", bold)


def test_the_page_of_a_demo_says_what_its_captions_stand_for(html: str, summary: Summary) -> None:
    assert "5,300 captions, standing for 530k" in html
    tables = [
        replace(table, rows=[replace(row, num_captions=row.scale) for row in table.rows]) for table in summary.tables
    ]
    real = replace(summary, tables=tables)
    assert "standing for" not in page_html(real, conclude(real), {})


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
