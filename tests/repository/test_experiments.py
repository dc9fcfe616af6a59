"""The numbers of the experiments' pages are those of the committed results."""

import csv
import re
from collections import defaultdict
from statistics import mean

from sg.report.load import load_summary
from tests.study.commands import ROOT

DEMO = ROOT / "experiments" / "demo_scaling"


def test_every_row_of_the_demo_table_is_the_committed_summary_s() -> None:
    page = (DEMO / "README.md").read_text(encoding="utf-8")
    summary = load_summary(DEMO)
    shown = re.findall(r"^\| ([^|]+) \| (\d\d\.\d) ±(\d\.\d)(?:, ([+-]\d+\.\d))?", page, flags=re.MULTILINE)
    (table,) = [table for table in summary.tables if table.setting == "without_subtitles"]
    cells = [row.cells["overall"] for row in table.rows]
    wanted = [
        (f"{cell.score:.1f}", "" if cell.delta is None else f"{cell.delta.value:+.1f}") for cell in cells if cell.score
    ]
    assert [(score, delta) for _, score, _, delta in shown] == wanted


def test_the_recorded_bar_is_met() -> None:
    lines = (DEMO / "bar.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 20
    assert not [line for line in lines if line.startswith("NOT MET")]


def test_the_table_of_the_mixtures_is_the_recorded_one() -> None:
    folder = ROOT / "experiments" / "sources_mix"
    rows = [line for line in (folder / "mixtures.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert "\n".join(rows) in (folder / "README.md").read_text(encoding="utf-8")
    scores = defaultdict(list)
    with (folder / "mixtures.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["bucket"] == "overall":
                scores[row["mixture"], row["setting"]].append(float(row["accuracy"]))
    cells = {row.split(" | ")[0].removeprefix("| "): row.split(" | ") for row in rows[2:]}
    assert len(cells) == 5 and len(scores) == 10
    for (mixture, setting), values in scores.items():
        shown = cells[mixture][2 if setting == "without_subtitles" else 5]
        assert len(values) == 3 and shown.startswith(f"{mean(values):.1f} ")
