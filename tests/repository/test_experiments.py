"""The numbers of the experiments' pages are those of the committed results."""

import csv
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest

from experiments.demo_adaptive.study import PROMPT, buying, settings_of
from sg.report.numbers.load import load_summary
from tests.study.commands import ROOT, run

EXPERIMENTS = ROOT / "experiments"
RECORDED = {"demo_null": ["."], "demo_scaling": ["world2", "world3"], "demo_tail": ["."]}
"""Page -> the folders of the summaries that its tables show, in their order."""


@pytest.mark.parametrize("name", RECORDED)
def test_every_row_of_a_demo_table_is_the_committed_summary_s(name: str) -> None:
    page = (EXPERIMENTS / name / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| [^|]+ \| (\d\d\.\d) ±\d\.\d(?:, ([+-]\d+\.\d))?", page, flags=re.MULTILINE)
    wanted = []
    for folder in RECORDED[name]:
        tables = load_summary(EXPERIMENTS / name / folder).tables
        (table,) = [table for table in tables if table.setting == "without_subtitles"]
        cells = [row.cells["overall"] for row in table.rows]
        wanted += [
            (f"{cell.score:.1f}", "" if cell.delta is None else f"{cell.delta.value:+.1f}")
            for cell in cells
            if cell.score
        ]
    assert shown == wanted


def test_the_recorded_bar_is_met() -> None:
    lines = (EXPERIMENTS / "demo_null" / "bar.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 20
    assert not [line for line in lines if line.startswith("NOT MET")]


TABLES = [("sources_mix", "mixtures", "mixture"), ("curation_baselines", "training", "curator")]


@pytest.mark.parametrize(("experiment", "name", "key"), TABLES)
def test_a_page_s_table_is_the_recorded_one(experiment: str, name: str, key: str) -> None:
    folder = ROOT / "experiments" / experiment
    rows = [line for line in (folder / f"{name}.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert "\n".join(rows) in (folder / "README.md").read_text(encoding="utf-8")
    scores = defaultdict(list)
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["bucket"] == "overall":
                arm = row[key], row["captions"]
                scores[arm, row["setting"]].append(float(row["accuracy"]))
    for setting, column in (("without_subtitles", 2), ("with_subtitles", 5)):
        recorded = sorted(f"{mean(values):.1f}" for (_, asked), values in scores.items() if asked == setting)
        assert sorted(row.split(" | ")[column].split(" ")[0] for row in rows[2:]) == recorded
    assert all(len(values) == 3 for values in scores.values())


@pytest.mark.parametrize("name", ["demo_captioners", "demo_decisions", "demo_sizes"])
def test_the_tables_of_a_ladder_s_page_are_the_recorded_ones(name: str) -> None:
    page, ladder = ((EXPERIMENTS / name / file).read_text(encoding="utf-8") for file in ("README.md", "ladder.md"))
    rows = [line for line in page.splitlines() if line[:1] == "|"]
    assert len(rows) > 10 and set(rows) <= set(ladder.splitlines())


def test_the_worth_on_the_page_of_demo_captioners_is_that_of_its_table() -> None:
    page = (EXPERIMENTS / "demo_captioners" / "README.md").read_text(encoding="utf-8")
    assert "a point of precision is worth +3 % [+1, +7]" in page.lower()
    assert "+3 % [+1, +7]" in next(row for row in page.splitlines() if row.startswith("| Held-out loss"))


def test_the_page_of_demo_adaptive_shows_the_recorded_decisions() -> None:
    folder = EXPERIMENTS / "demo_adaptive"
    page, decisions = (
        (folder / name).read_text(encoding="utf-8").splitlines() for name in ("README.md", "decisions.md")
    )
    shown = [row for row in page if row[:1] == "|"]
    assert shown == [row for row in decisions if row[:1] == "|"]
    pairs = defaultdict(list)
    with (folder / "cores.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            pairs[row["world"], row["seed"]].append(row)
    for (world, seed), cores in pairs.items():
        stop, whole = [row for row in cores if row["bought_by_the_rule"] == "1"][-1], cores[-1]
        (line,) = [row for row in shown if row.startswith(f"| {world} | {seed} |")]
        saved, change = float(whole["usd"]) - float(stop["usd"]), float(stop["accuracy"]) - float(whole["accuracy"])
        assert f"| {stop['scale']} ({stop['captions']}) | ${stop['usd']} | " in line
        assert abs(saved - float(line.split("$")[2].split(" ")[0])) < 2, "a caption that was asked twice may differ"
        assert f", {change:+.1f} [" in line


@pytest.mark.slow
def test_the_settings_of_demo_adaptive_are_those_of_a_plan_today(tmp_path: Path) -> None:
    """The whole command takes 17 minutes."""
    prompt = tmp_path / "prompt.md"
    prompt.write_text(PROMPT, encoding="utf-8")
    settings = [*settings_of(tmp_path, 35), "seed=0", *buying("http://127.0.0.1:9/v1", prompt, 0, 0.0005)]
    done = run(["train.py", *settings, "dry_run=true"])
    assert done.returncode == 0, done.stderr
    assert "adaptive" in done.stdout and "$583" in done.stdout
