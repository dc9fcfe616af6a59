"""The steps of a run as `why=true` reports them, and how a step is compared with earlier work."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.core.errors import DataError
from sg.core.files import read_json
from sg.core.identity import Change, Identity, differences, recorded

REUSED, RESUMED, MADE, MADE_AGAIN = "reused", "resumed", "made", "made again"
UNDECIDED = "undecided"
"""The step depends on a file that has to be made first."""
MISSING = "missing"
"""The step's file does not exist, and only another command makes it."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What happens to one step of a run.

    Attributes:
        step: manifest, captions, ..., `stage align`, ..., result.
        action: one of the constants above.
        place: file or folder of the step.
        note: what else decides the action, such as the number of clips to encode.
        compared_with: the nearest earlier work, if there is any.
        changes: the differences from that work.
    """

    step: str
    action: str
    place: Path
    note: str = ""
    compared_with: Path | None = None
    changes: tuple[Change, ...] = ()

    def record(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "step": self.step,
            "action": self.action,
            "place": str(self.place),
            "note": self.note,
            "compared_with": None if self.compared_with is None else str(self.compared_with),
            "changes": [{"key": change.key, "before": change.before, "now": change.now} for change in self.changes],
        }


def against(step: str, place: Path, now: Identity, found: Mapping[Path, Identity]) -> StepReport:
    """The report of a step that has to be made, compared with the nearest of the `found` earlier works.

    The nearest is the one with the fewest differences.
    """
    if not found:
        return StepReport(step, MADE, place)
    nearest = min(found, key=lambda path: (len(differences(found[path], now)), str(path)))
    return StepReport(step, MADE_AGAIN, place, "", nearest, tuple(differences(found[nearest], now)))


def identities_in(paths: Iterable[Path]) -> dict[Path, Identity]:
    """The identities that JSON files record, by the folder of each file; files without one are skipped."""
    found: dict[Path, Identity] = {}
    for path in sorted(paths):
        try:
            work = recorded(read_json(path))
        except (DataError, OSError):
            continue
        if work is not None:
            found[path.parent] = work
    return found


def text_of(reports: Sequence[StepReport]) -> str:
    """The reports as text: one line per step, and below it one line per difference."""
    width = max(len(report.step) for report in reports)
    lines: list[str] = []
    for report in reports:
        note = f" ({report.note})" if report.note else ""
        lines.append(f"  {report.step:<{width}}  {report.action:<10}  {report.place}{note}")
        if report.compared_with is not None and report.compared_with != report.place:
            lines.append(f"      compared with {report.compared_with}")
        lines += [f"      {change}" for change in report.changes]
    return "\n".join(lines)
