"""The result of an examination: one finding per thing, and how to fix what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

OK, NOTE, LACK = "ok", "note", "LACK"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined.

    Attributes:
        part: heading under which it is shown.
        status: "ok", "note" (useful to know) or "LACK" (a study with these settings cannot run).
        text: the finding.
        fix: what to type or change; "" where there is nothing to do.
    """

    part: str
    status: str
    text: str
    fix: str = ""


def lines(findings: Sequence[Finding]) -> list[str]:
    """Return the findings as lines of text, with a heading per part and a conclusion."""
    written: list[str] = []
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            written += ["", part]
        written.append(f"  {finding.status:<5} {finding.text}")
        if finding.fix:
            written.append(f"        -> {finding.fix}")
    return [*written[1:], "", conclusion(findings)]


def plain(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as plain data: `{"lacking": count, "findings": [{part, status, text, fix}]}`."""
    rows = [{"part": f.part, "status": f.status.lower(), "text": f.text, "fix": f.fix} for f in findings]
    return {"lacking": lacking(findings), "findings": rows}


def lacking(findings: Sequence[Finding]) -> int:
    """Return the number of things that are missing."""
    return sum(finding.status == LACK for finding in findings)


def conclusion(findings: Sequence[Finding]) -> str:
    """Return the last line: how many things are missing."""
    count = lacking(findings)
    if not count:
        return "Nothing is missing for a study with these settings."
    return f"{count} thing{' is' if count == 1 else 's are'} missing for a study with these settings."
