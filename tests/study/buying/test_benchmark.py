"""`benchmarks/caption/adaptive.py` reads the runs of a sweep and judges the rule by them."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.caption.adaptive import (
    SCALES,
    composed,
    difference,
    is_possible,
    over_worlds,
    read_cores,
    report,
    seed_noise,
    stop_at,
)
from sg.core.scales import parse_scale
from tests.report.ladder.builder import write_member


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A sweep over all scales, in folders that are named as those of `train.py`."""
    study = write_member(tmp_path / "study", scales=tuple(parse_scale(scale) or 0 for scale in SCALES), seeds=(0, 1))
    for seed in (0, 1):
        for scale in SCALES:
            (found,) = study.glob(f"scale={scale},control=None,seed={seed}")
            found.rename(study / f"{scale}-seed{seed}")
    return tmp_path


def test_the_benchmark_of_adaptive_buying_reads_losses_and_answers(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"world": 10, "seed": seed, "cores": read_cores(runs, seed)} for seed in (0, 1)]
    cores = rows[0]["cores"]
    assert [core["captions"] for core in cores] == [100, 200, 400, 800, 1060]
    assert len(cores[0]["nats"]) == len(cores[0]["tokens"]) == 150
    assert 0 < sum(cores[0]["right"]) < sum(cores[-1]["right"]) < len(cores[0]["videos"])
    assert stop_at(cores, wanted=0.0) == 4 and stop_at(cores, wanted=1.0) == 1
    assert difference(cores[-1], cores[-1]) == (0.0, 0.0)
    assert len(seed_noise(rows)) == 1
    report([*rows, *({**row, "world": 11} for row in rows)])
    assert "4 pairs of world and seed, 2 worlds" in capsys.readouterr().out


def test_the_goal_is_possible_where_a_cheap_core_is_as_good_as_all_of_them() -> None:
    def cores(*right: int) -> dict[str, Any]:
        captions, videos = (100, 200, 400, 800, 1060), [str(number) for number in range(200)]
        answers = [[1] * number + [0] * (200 - number) for number in right]
        return {
            "cores": [{"captions": c, "right": a, "videos": videos} for c, a in zip(captions, answers, strict=True)]
        }

    assert is_possible(cores(50, 60, 79, 80, 80)) and is_possible(cores(50, 82, 70, 80, 80))
    assert not is_possible(cores(50, 60, 77, 80, 80)), "the core of 400k saves a quarter only"


def test_the_runs_of_the_benchmark_are_those_of_train_py() -> None:
    config = composed(["model=tiny_narrow", "data.scale=50k", "seed=1"])
    assert (config.data.scale, config.seed, config.model.name) == ("50k", 1, "tiny_narrow")


def test_seeds_of_a_world_are_not_independent_in_the_interval() -> None:
    rows = [{"world": world} for world in (1, 1, 2, 2, 3, 3)]
    assert over_worlds(rows, [0, 2, 1, 1, 2, 0]) == "+1.00 [+1.00, +1.00]"
    assert over_worlds(rows[:2], [0, 1]) == "+0.50 [no interval]"
