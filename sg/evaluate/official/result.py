"""What an official table consists of, and how answers are counted into it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sg.artefacts.predictions import Prediction


@dataclass(frozen=True, slots=True)
class OfficialResult:
    """The official result of the answers in one setting.

    Attributes:
        metric: what `value` is, in words.
        value: the headline number of the authors' script, in percent.
        strict: the same number if every question without an answer counts as wrong, in percent.
        unanswered: questions without a readable answer. `lucky` of them the official script counts as right, or better
            than wrong.
        text: what the script prints.
        part: the task, if the benchmark has a table for each.
        files: content of the result files that the script writes, by name.
    """

    metric: str
    value: float
    strict: float
    unanswered: int
    lucky: int
    text: str
    part: str = ""
    files: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The headline number, and the strict one where it differs, in one line."""
        name = f"{self.part}: " if self.part else ""
        line = f"{name}{self.metric} {self.value:.2f} %"
        if abs(self.value - self.strict) < 5e-3:
            return line
        lucky = f", {self.lucky} of which count as right officially" if self.lucky else ""
        return (
            f"{line}; {self.strict:.2f} % if answers that choose no option count as wrong ({self.unanswered:,}{lucky})"
        )


OfficialTable = Callable[[Sequence[Prediction]], Sequence[OfficialResult]]
"""The official results of the rows of one setting, in the order of the benchmark: one, or one per task."""


@dataclass(frozen=True, slots=True)
class OfficialForms:
    """The forms of results that the authors of a benchmark use.

    Attributes:
        table: what their script prints.
        file_rule: name of the rule by which it reads a file of answers, if it reads less there than a response needs.
        has_groups: True if it scores groups of consecutive questions, so that none may be missing.
    """

    table: OfficialTable
    file_rule: str = ""
    has_groups: bool = False


def percent(right: int, total: int) -> float:
    """`right` in percent of `total`; 0 without any."""
    return 100 * right / total if total else 0.0


def grouped(rows: Iterable[Prediction], keys: Callable[[Prediction], Iterable[str]]) -> dict[str, list[Prediction]]:
    """The rows by each of their keys, in order of first appearance."""
    groups: dict[str, list[Prediction]] = {}
    for row in rows:
        for key in keys(row):
            groups.setdefault(key, []).append(row)
    return groups


def counted(metric: str, rows: Sequence[Prediction], answered_only: bool, text: str, **more: Any) -> OfficialResult:
    """The result whose headline is the share of right answers among all rows, or among the answered ones."""
    right, strict = sum(row.is_correct for row in rows), sum(row.is_strictly_correct for row in rows)
    total = sum(row.is_answered for row in rows) if answered_only else len(rows)
    return OfficialResult(
        metric=metric,
        value=percent(right, total),
        strict=percent(strict, len(rows)),
        unanswered=sum(row.letter == "" for row in rows),
        lucky=right - strict,
        text=text,
        **more,
    )
