"""The benchmarks of a study side by side: its planned comparisons with no captions, corrected over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sg.artefacts.predictions import OVERALL
from sg.artefacts.result import BENCHMARKS_FOLDER
from sg.report.numbers.summary import Summary
from sg.report.pages.exports import csv_text
from sg.report.pages.tables import cell_delta, cell_score
from sg.report.wording import SETTING_TITLES, holm_text

BENCHMARKS_NOTE = (
    "Accuracy over all questions, in % of the answered ones; difference from no captions in points with its 95 % "
    "interval; * p < .05 after Holm's correction over the planned comparisons of all benchmarks."
)
HEADINGS = ("Benchmark", "Setting", "Captions", "Accuracy", "Difference from no captions", "p")


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """The largest scale of a study on one benchmark in one setting; `page` leads there from the first one's report."""

    benchmark: str
    setting: str
    label: str
    score: str
    difference: str
    p: str
    page: str


def benchmark_rows(summaries: Sequence[Summary]) -> list[BenchmarkRow]:
    """One row per benchmark and setting, for the largest scale with a difference; empty for a single benchmark.

    Where the answers of no scale carry a difference, the row has the score of the largest scale alone.
    """
    rows = []
    for number, summary in enumerate(summaries if len(summaries) > 1 else ()):
        for table in summary.tables:
            headline = [row for row in table.rows if row.control is None]
            compared = [row for row in headline if row.cells[OVERALL].delta is not None] or headline
            if compared:
                row, cell = compared[-1], compared[-1].cells[OVERALL]
                page = "index.html" if number == 0 else f"../{BENCHMARKS_FOLDER}/{summary.study}/report/index.html"
                texts = cell_score(cell), cell_delta(cell), "" if cell.delta is None else holm_text(cell.p_holm)
                rows.append(BenchmarkRow(summary.benchmark, table.setting, row.label, *texts, page))
    return rows


def benchmarks_text(rows: Sequence[BenchmarkRow]) -> str:
    """The rows as text for the terminal; empty without any."""
    if not rows:
        return ""
    names = [f"{row.benchmark}, {SETTING_TITLES[row.setting].lower()}, {row.label}" for row in rows]
    width = max(map(len, names)) + 2
    lines = [
        f"  {name.ljust(width)}{row.score.ljust(12)}{row.difference.ljust(26)}{row.p}"
        for name, row in zip(names, rows, strict=True)
    ]
    return "\n".join(["All benchmarks", BENCHMARKS_NOTE, *lines]) + "\n"


def benchmarks_csv(rows: Sequence[BenchmarkRow]) -> str:
    """The rows as CSV."""
    names = [field.name for field in fields(BenchmarkRow)]
    return csv_text(names, [[getattr(row, name) for name in names] for row in rows])
