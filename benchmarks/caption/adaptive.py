"""What adaptive buying of captions saves: the rule of `captioner.buy=adaptive` on worlds that nothing was tuned on.

python benchmarks/caption/adaptive.py run --worlds 10-34 --seeds 0,1 --out rows.jsonl  # 100 CPU s per pair; resumes
python benchmarks/caption/adaptive.py report --out rows.jsonl

`run` trains the tiny_narrow model on every nested core (50k, 100k, 200k, 400k, 530k; two captions stand for 1,000), as
adaptive buying does when it never stops, and records the loss of each held-out caption and the answers. `report` gives
the rule (`sg.study.buying.rule`) these losses one core after the other, at the price of a thousand captions, and
compares the core at which it stops with the largest one; loss and accuracy of every core go to rows.csv. Worlds 0 to 3
were looked at in other studies, so they are left out here.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from scipy.stats import t as student_t

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.held_out import read_caption_losses
from sg.artefacts.result import read_answers_of, read_result
from sg.core.commands import typed
from sg.core.layout import CONFIG_FOLDER
from sg.study.buying.rule import FEWEST, NextCore, forecast
from sg.study.config import TrainConfig

SCALES = ("50k", "100k", "200k", "400k", "530k")
PER_K = 2
USD_PER_1000 = 1.10
"""`gemini_3_1_flash_lite`, clips of 18 s with sound: experiments/demo_captioners/README.md."""
WANTED = (0.0001, 0.0002, 0.0005, 0.001, 0.002)
"""Least falls of the held-out loss, in nats per token, per dollar."""
SIMPLER = 0.7
"""By how much a gain shrinks per doubling, for a prediction without a ratio; fitted to worlds 10 and 11."""


def train(world: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train all cores of a world; one row for each seed."""
    from sg.study.run import StudyRun, run_study

    with tempfile.TemporaryDirectory() as folder:
        settings = [
            "model=tiny_narrow", "logger=csv", f"data.world.world_seed={world}", f"data.world.videos_per_k={PER_K}",
            "data.world.benchmark_videos=180", "stage.caption.epochs=4", "stage.instruct.epochs=2",
            "benchmark.answering.settings=[without_subtitles]", "benchmark.answering.probes=[]",
            f"paths.work={folder}/work", f"paths.runs={folder}/runs",
        ]  # fmt: skip
        runs = Path(folder, "runs", "adaptive")
        for seed in seeds:
            for scale in SCALES:
                config, name = composed([*settings, f"data.scale={scale}", f"seed={seed}"]), f"{scale}-seed{seed}"
                run_study(StudyRun(config, runs.name, name, runs / name))
        return [{"world": world, "seed": seed, "cores": read_cores(runs.parent, seed)} for seed in seeds]


def composed(settings: list[str]) -> TrainConfig:
    """The settings of `train.py`; a sweep of it would also train the model without captions, and write a report."""
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return typed(compose("train", settings), TrainConfig)


def read_cores(runs: Path, seed: int) -> list[dict[str, Any]]:
    """Captions, loss of each held-out caption and right answers of every core of a seed."""
    cores = []
    for scale in SCALES:
        (folder,) = runs.glob(f"*/{scale}-seed{seed}")
        result = read_result(folder)
        assert result.held_out is not None
        losses = read_caption_losses(folder, result.held_out)
        answers = [row for row in read_answers_of(folder, result) if row.setting == "without_subtitles"]
        cores.append({
            "captions": int(scale[:-1]) * PER_K,
            "nats": [round(row.nats, 4) for row in losses], "tokens": [row.tokens for row in losses],
            "right": [int(row.is_correct) for row in answers], "videos": [row.video_id for row in answers],
        })  # fmt: skip
    return cores


def stop_at(cores: Sequence[dict[str, Any]], wanted: float) -> int:
    """The number of the core after which the rule stops buying."""
    for number in range(FEWEST, len(cores)):
        if not predicted(cores, number, wanted).is_worth_it:
            return number - 1
    return len(cores) - 1


def predicted(cores: Sequence[dict[str, Any]], number: int, wanted: float = 0.0) -> NextCore:
    """What the rule predicts for the core of this number; captions cost as those that they stand for."""
    bought = cores[:number]
    usd = (cores[number]["captions"] - bought[-1]["captions"]) / PER_K * USD_PER_1000
    return forecast(
        [core["captions"] for core in bought], [core["nats"] for core in bought], bought[-1]["tokens"],
        cores[number]["captions"], usd, wanted,
    )  # fmt: skip


def report_predictions(rows: Sequence[dict[str, Any]]) -> None:
    """How far the predicted gains are from the measured ones, for the rule and for a simpler one."""
    errors, simpler, inside = [], [], []
    for cores in (row["cores"] for row in rows):
        for number in range(FEWEST, len(cores)):
            steps = np.diff(np.log2([core["captions"] for core in cores[number - 2 : number + 1]]))
            last, gain = -np.diff([loss(core) for core in cores[number - 2 : number + 1]])
            found = predicted(cores, number)
            errors.append((found.gain - gain) / steps[1])
            simpler.append(SIMPLER * last / steps[0] - gain / steps[1])
            inside.append(found.low <= gain <= found.high)
    print(f"{len(errors)} predictions, nats per token per doubling; {sum(inside)} gains within the interval")
    for name, values in (("the rule", errors), (f"the last gain times {SIMPLER}", simpler)):
        print(
            f"  {name}: mean error {np.mean(values):+.3f}, root mean square {np.sqrt(np.mean(np.square(values))):.3f}"
        )


def difference(core: dict[str, Any], whole: dict[str, Any]) -> tuple[float, float]:
    """Accuracy of `core` minus that of `whole` in points, and half its 95 % interval, clustered by video."""
    change = 100 * (np.array(core["right"], float) - np.array(whole["right"], float))
    names, places = np.unique(whole["videos"], return_inverse=True)
    sums = np.bincount(places, weights=change - change.mean())
    scale = len(names) / (len(names) - 1)
    return float(change.mean()), 1.96 * float(np.sqrt(scale * (sums**2).sum()) / len(change))


def over_worlds(rows: Sequence[dict[str, Any]], values: Sequence[float], digits: int = 2) -> str:
    """The mean of one value per row with its 95 % interval over worlds: the seeds of a world share its videos."""
    names, places = np.unique([row["world"] for row in rows], return_inverse=True)
    means = np.bincount(places, weights=values) / np.bincount(places)
    if len(names) < 2:
        return f"{means.mean():+.{digits}f} [no interval]"
    half = student_t.ppf(0.975, len(names) - 1) * means.std(ddof=1) / np.sqrt(len(names))
    return f"{means.mean():+.{digits}f} [{means.mean() - half:+.{digits}f}, {means.mean() + half:+.{digits}f}]"


def report(rows: Sequence[dict[str, Any]]) -> None:
    """One line for each wanted gain."""
    worlds = len({row["world"] for row in rows})
    print(f"{len(rows)} pairs of world and seed, {worlds} worlds; stopped minus all 530k; 95 % intervals over worlds")
    print(
        "nats per $  saved %  >= 30 %  accuracy, points        within 1 point  both  interval holds 0  loss per token"
    )
    for wanted in WANTED:
        stops = [stop_at(row["cores"], wanted) for row in rows]
        ends = [(row["cores"][at], row["cores"][-1]) for row, at in zip(rows, stops, strict=True)]
        saved = [1 - core["captions"] / whole["captions"] for core, whole in ends]
        found = [difference(core, whole) for core, whole in ends]
        changes = [value for value, _ in found]
        both = sum(is_met(share, value) for share, value in zip(saved, changes, strict=True))
        print(
            f"{wanted:<12g}{100 * np.mean(saved):<9.0f}{sum(share >= 0.3 for share in saved):<9}"
            f"{over_worlds(rows, changes):<24}{sum(abs(value) <= 1 for value in changes):<16}{both:<6}"
            f"{sum(abs(value) <= half for value, half in found):<18}"
            f"{over_worlds(rows, [loss(core) - loss(whole) for core, whole in ends], 3)}"
        )
    report_predictions(rows)
    print(f"a rule that knows every accuracy: both in {sum(map(is_possible, rows))} of {len(rows)} pairs")
    if apart := seed_noise(rows):
        close = sum(abs(points) <= 1 for points in apart)
        print(f"two seeds of all 530k: at most 1 point apart in {close} of {len(apart)} worlds")


def is_met(saved: float, points: float) -> bool:
    """Whether a stop saves 30 % of the dollars, and its accuracy is within one point of that of all captions."""
    return saved >= 0.3 and abs(points) <= 1


def is_possible(row: dict[str, Any]) -> bool:
    """Whether any core of a pair meets the goal: what no rule that stops at one of them can exceed."""
    whole = row["cores"][-1]
    return any(is_met(1 - core["captions"] / whole["captions"], difference(core, whole)[0]) for core in row["cores"])


def write_cores(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss and accuracy of every core as a table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["world", "seed", "captions", "loss", "accuracy"])
        for row in rows:
            for core in row["cores"]:
                accuracy = 100 * float(np.mean(core["right"]))
                table.writerow([row["world"], row["seed"], core["captions"], f"{loss(core):.4f}", f"{accuracy:.2f}"])


def loss(core: dict[str, Any]) -> float:
    """Held-out loss in nats per token."""
    return float(sum(core["nats"]) / sum(core["tokens"]))


def seed_noise(rows: Sequence[dict[str, Any]]) -> list[float]:
    """By how many points the first two seeds of each world differ with all captions: what chance alone does."""
    by_world: dict[int, list[float]] = {}
    for row in rows:
        by_world.setdefault(row["world"], []).append(100 * float(np.mean(row["cores"][-1]["right"])))
    return [scores[0] - scores[1] for scores in by_world.values() if len(scores) > 1]


def numbers(text: str) -> list[int]:
    """`10-12,20` as numbers."""
    spans = [(part.split("-")[0], part.split("-")[-1]) for part in text.split(",")]
    return [number for first, last in spans for number in range(int(first), int(last) + 1)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "report"])
    parser.add_argument("--worlds", type=numbers, default=numbers("10-34"))
    parser.add_argument("--seeds", type=numbers, default=[0, 1])
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    lines = asked.out.read_text(encoding="utf-8").splitlines() if asked.out.is_file() else []
    known = [json.loads(line) for line in lines]
    if asked.action == "report":
        report(known)
        write_cores(known, asked.out.with_suffix(".csv"))
    else:
        for number in asked.worlds:
            if not {row["world"] for row in known} & {number}:
                made = train(number, asked.seeds)
                with asked.out.open("a", encoding="utf-8") as stream:
                    stream.writelines(json.dumps(row) + "\n" for row in made)
                print(f"world {number}", flush=True)
