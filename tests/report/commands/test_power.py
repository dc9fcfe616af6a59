import json
import subprocess
import sys
from pathlib import Path

import pytest

from sg.core.errors import ConfigError, DataError
from sg.report.commands.power import PowerConfig, power_record
from sg.report.pages.power import power_text

from ..study_builder import World, write_study

ROOT = Path(__file__).parents[3]


def test_assumed_power_is_printed_by_seeds_and_benchmarks() -> None:
    config = PowerConfig(benchmarks=["video_mme", "mine:1500/500"], seeds=[1, 3], wanted_points=2.0, hours_per_run=30)
    record = power_record(config)
    text = power_text(record)
    assert [(row["benchmarks"], row["seeds"]) for row in record["rows"]] == [
        (("video_mme",), 1), (("video_mme",), 3), (("video_mme", "mine"), 1), (("video_mme", "mine"), 3),
    ]  # fmt: skip
    assert "video_mme         1      2.7             2.7             2.7" in text
    assert "two arms disagree on 22 % of the questions, two seeds of one arm on 18 %" in text
    assert "of 2 points, cheapest design: " in text and "GPU-hours" in text


def test_a_difference_that_no_design_resolves_says_how_many_questions_would() -> None:
    text = power_text(power_record(PowerConfig(seeds=[1], wanted_points=0.6)))
    assert "of 0.6 points: not resolved by 20 seeds on video_mme; 5 seeds take about 1" in text


def test_one_seed_with_noise_of_training_says_that_it_cannot_be_had() -> None:
    text = power_text(power_record(PowerConfig(seeds=[1, 3], seed_sd=1.0)))
    assert "video_mme   1      -               -               -" in text
    assert "-: cannot be obtained; with one seed nothing shows how much a run differs from its repetition" in text


def test_a_study_with_two_seeds_is_measured(tmp_path: Path) -> None:
    write_study(tmp_path / "study", videos=120, seeds=2)
    record = power_record(PowerConfig(study=str(tmp_path / "study"), seeds=[2, 5]))
    assert record["basis"] == "measured in study (without_subtitles), with 2 seeds"
    assert list(record["rows"][0]["points"]) == ["caption effect", "scale effect", "control"]
    assert record["arms"] == 8 and record["rows"][0]["points"]["control"] > record["rows"][1]["points"]["control"]


def test_a_study_with_one_seed_says_what_it_assumes(tmp_path: Path) -> None:
    world = World(tmp_path / "study", videos=60)
    world.run(0)
    world.run(50_000)
    record = power_record(PowerConfig(study=str(tmp_path / "study"), seeds=[1, 3]))
    assert "with one seed" in record["basis"] and list(record["rows"][0]["points"]) == ["caption effect"]


def test_a_study_without_two_arms_is_refused(tmp_path: Path) -> None:
    World(tmp_path / "study", videos=9).run(0)
    with pytest.raises(DataError, match="no two arms with a common seed"):
        power_record(PowerConfig(study=str(tmp_path / "study")))


@pytest.mark.parametrize(
    "values", [{"benchmarks": ["nothing"]}, {"benchmarks": ["mine:10/500"]}, {"seeds": [0]}, {"arms": 1}]
)
def test_impossible_settings_are_refused(values: dict[str, list[int]]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        power_record(PowerConfig(**values))  # type: ignore[arg-type]


def test_the_command_prints_json() -> None:
    command = [sys.executable, "-m", "sg.report", "power", "seeds=[1,10]", "format=json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    record = json.loads(done.stdout)
    assert (record["kind"], record["schema"]) == ("power", 1)
    assert [round(row["points"]["control"], 1) for row in record["rows"]] == [2.7, 1.4]
