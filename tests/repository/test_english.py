"""Words that texts for people do not use here, and what to write instead (`CONTRIBUTING.md`, "English")."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.repository.test_citations import ROOT, tracked_texts

ONE_PER = "row|file|worker|process|line|job|ledger|run|question|object|thread|list|model|task"
PER = (
    "clip|core|cue|device|file|gate|job|line|minute|mixture|model|part|process|question|quota|row|score|seed|set|shard"
)
PER += "|source|step|video|worker"
WRITE = {
    r"\banew\b": "again, from scratch",
    r"\breckon(?:s|ed|ing)?\b": "assume, estimate, count",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\b(?:is|are|was|were) told\b": "is reported, is printed",
    r"\btells\b(?! (?:\S+ ){0,4}(?:apart|from)\b)": "reports, prints, raises, returns",
    r"\b(?:goes|go|went|going|gone) on (?:with|where|from|at|as)\b": "resumes, continues",
    r"(?<!there )\b(?:is|are) no (?!longer|more\b|better|larger|other|less|matter|evidence)": "is not a, there is no",
    r"\bwhat (?:is none|none is)\b": "what is not one",
    r"\bby (?:its|their) word\b": "without trusting",
    rf"\b(?:a|an|one) (?:{ONE_PER}) an? (?:{PER})\b": "one row per video",
    r"\b(?:where|as|when|if) (?:it|they) (?:is|are|was) had\b|\b(?:is|are) had\b": "where to get it",
    r"\bthe luck of\b": "variance across training seeds",
    r"\bgives (?:its|the|their) (?:path|folder|name|number|list)\b": "returns",
    r"films?(?![a-z])": "video (a row of the manifest), clip (a unit of training) or file (on disk)",
}
"""By pattern, what to write instead. The patterns find the plain cases only: a sentence can still be bad English."""

ALLOWED = {
    r"Film & Television": "a domain of Video-MME",
    r"COLUMN (?:film TO|media TO film)": "the old name of a column in ledgers of version 2",
}
"""Texts that are left alone, and why."""

CHECKED = {".py", ".md", ".yaml", ".j2", ".html", ".js"}
RECORDED = {ROOT / "CHANGELOG.md"}
"""History: it names keys and words of earlier versions."""


@cache
def readable(path: Path) -> str:
    """The text in one line, without comment signs: so words that a line break separates are found together."""
    text = path.read_text(encoding="utf-8", errors="replace")
    for pattern in ALLOWED:
        text = re.sub(pattern, "", text)
    text = re.sub(r"\n\s*\n", " ¶ ", text)
    return re.sub(r"\s*\n[ \t]*(?:#:? |\* |// )?", " ", text)


def checked_files() -> list[Path]:
    own = Path(__file__).resolve()
    return [path for path in tracked_texts() if path.suffix in CHECKED and path not in RECORDED | {own}]


@pytest.mark.parametrize(("pattern", "instead"), WRITE.items(), ids=WRITE.values())
def test_no_text_uses_a_word_of_the_list(pattern: str, instead: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: ...{text[max(0, hit.start() - 40) : hit.end() + 20]}..."
        for path in checked_files()
        for text in [readable(path)]
        for hit in re.finditer(pattern, text, re.IGNORECASE)
    ]
    assert not found, f"write: {instead}"
