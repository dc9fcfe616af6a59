"""What the texts of the repository refer to exists: cited reference pages with their sections, and linked files."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT_SUFFIXES = {".py", ".md", ".yaml", ".toml", ".txt", ".j2", ".html", ".js", ".ipynb", ".cff", ".sh", ""}

PAGE = re.compile(r"docs/reference/(?P<page>\w+)\.md`?")
SECTIONS = re.compile(r",? sections? (?P<numbers>\d+(?:(?:, | and | to |-)\d+)*)")
"""Follows a page: `docs/reference/chat_univi.md`, sections 5 and 6."""
OLD_CITATION = re.compile(r"\bspec/|\bspec `|\bspec sections?\b")
FILE = re.compile(
    r"(?<![\w/.])(?:docs|experiments|benchmarks|tests|sg|notebooks)/[\w./-]+\.(?:md|py|yaml|csv|json|ipynb)\b"
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(<?(?P<target>[^)\s>]+)>?\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")


def tracked_texts() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    return [path for path in paths if path.suffix in TEXT_SUFFIXES and path.is_file() and path != Path(__file__)]


@cache
def text_of(path: Path) -> str:
    """The text, with line breaks and the comment signs after them as one space: a citation may be wrapped."""
    return re.sub(r"\s*\n[ \t]*(?:#+(?!#) )?", " ", path.read_text(encoding="utf-8", errors="replace"))


@cache
def headings(path: Path) -> list[str]:
    """The headings of a Markdown file, without the ones in code blocks."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#{1,6} (.+?)\s*$", text, re.MULTILINE)


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def citations() -> Iterator[tuple[Path, str, list[int]]]:
    """Each citation of a reference page: where it stands, the page, and the section numbers (maybe none)."""
    for path in tracked_texts():
        text = text_of(path)
        for page in PAGE.finditer(text):
            sections = SECTIONS.match(text, page.end())
            numbers = [int(number) for number in re.findall(r"\d+", sections["numbers"])] if sections else []
            yield path, page["page"], numbers


def test_every_cited_reference_page_and_section_exists() -> None:
    missing = []
    for path, name, numbers in citations():
        page = ROOT / "docs" / "reference" / f"{name}.md"
        known = {heading.split(".")[0] for heading in headings(page)} if page.is_file() else set()
        if not page.is_file() or any(str(number) not in known for number in numbers):
            missing.append(f"{path.relative_to(ROOT)}: {name}.md, sections {numbers}")
    assert not missing


def test_the_search_finds_citations_with_their_sections() -> None:
    found = list(citations())
    assert (ROOT / "sg/models/chat_univi/merging.py", "chat_univi", [3, 4]) in found
    assert len([numbers for _, _, numbers in found if numbers]) > 20


def test_every_file_that_a_text_names_exists() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked_texts()
        for name in FILE.findall(text_of(path))
        if not (ROOT / name).exists() and path.name != "test_package.py"  # names files of the wheel
    }
    assert missing == set()


def test_no_text_cites_a_page_outside_the_repository() -> None:
    assert [str(path.relative_to(ROOT)) for path in tracked_texts() if OLD_CITATION.search(text_of(path))] == []


@pytest.mark.parametrize(
    "page", [path for path in tracked_texts() if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_relative_link_leads_to_a_file_and_heading(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in LINK.finditer(text):
        target = link["target"] or link["image"]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (heading and heading not in {anchor(each) for each in headings(file)}):
            broken.append(target)
    assert not broken
