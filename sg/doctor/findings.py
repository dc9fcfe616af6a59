"""What an examination says: one line a thing, and how to mend what is lacking."""

from collections.abc import Sequence
from dataclasses import dataclass

OK, NOTE, LACK = "ok", "note", "LACK"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `status` is "ok", "note" (good to know) or "LACK" (the study cannot run so)."""

    part: str
    status: str
    text: str
    mend: str = ""


def lines(findings: Sequence[Finding]) -> list[str]:
    """The findings as text, a heading a part."""
    written: list[str] = []
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            written += ["", part]
        written.append(f"  {finding.status:<5} {finding.text}")
        if finding.mend:
            written.append(f"        -> {finding.mend}")
    return [*written[1:], "", conclusion(findings)]


def conclusion(findings: Sequence[Finding]) -> str:
    """The last line: whether anything is lacking."""
    lacking = sum(finding.status == LACK for finding in findings)
    if not lacking:
        return "Nothing is lacking for a study with these settings."
    return f"{lacking} thing{'' if lacking == 1 else 's'} lacking for a study with these settings."
