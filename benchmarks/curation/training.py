"""What the curators' cores are worth in training: one table of several studies.

    python train.py experiment=curation_baselines
    python benchmarks/curation/training.py runs/curation_baselines_* --out experiments/curation_baselines

Writes OUT/training.csv (a row a run) and OUT/training.md: mean accuracy over seeds, its standard deviation, and the
difference to `random` at the same size with the standard error of the paired difference over seeds.
"""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.result import RunResult, read_result
from sg.core.files import atomic_path, write_text

COLUMNS = ("curator", "scale", "seed", "captions", "setting", "bucket", "accuracy")
Scores = dict[tuple[str, str, int], dict[int, float]]
"""(setting, curator, scale) -> seed -> overall accuracy; the baseline without captions is of every curator."""


def results_of(studies: list[Path]) -> list[RunResult]:
    found = [read_result(path.parent) for study in studies for path in sorted(study.glob("*/result.json"))]
    return [result for result in found if result.is_finished and result.control is None]


def scores_of(results: list[RunResult]) -> Scores:
    scores: Scores = defaultdict(dict)
    for result in results:
        for setting, values in result.scores.items():
            scores[setting, result.config["curator"]["name"], result.scale][result.seed] = values["overall"]
    return scores


def against_random(scores: Scores, setting: str, curator: str, scale: int) -> str:
    """`+1.2 ±0.4` over the seeds that both have."""
    own, random = scores[setting, curator, scale], scores.get((setting, "random", scale), {})
    seeds = sorted(own.keys() & random.keys())
    if curator == "random" or not scale or not seeds:
        return ""
    differences = np.array([own[seed] - random[seed] for seed in seeds])
    error = f" ±{differences.std(ddof=1) / np.sqrt(len(seeds)):.1f}" if len(seeds) > 1 else ""
    return f"{differences.mean():+.1f}{error}"


def table_of(scores: Scores) -> str:
    settings = sorted({setting for setting, _, _ in scores})
    lines = [f"| core | curator | {' | '.join(f'{setting} | against random' for setting in settings)} |"]
    lines.append("|---" * (2 + 2 * len(settings)) + "|")
    for scale, curator in sorted({(scale, curator) for _, curator, scale in scores}):
        cells = []
        for setting in settings:
            values = np.array(list(scores[setting, curator, scale].values()))
            spread = f" ±{values.std(ddof=1):.1f}" if len(values) > 1 else ""
            cells += [f"{values.mean():.1f}{spread}", against_random(scores, setting, curator, scale)]
        lines.append(f"| {f'{scale // 1000}k' if scale else 'none'} | {curator} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rows_of(results: list[RunResult]) -> list[tuple[str | int | float, ...]]:
    """A row a score, sorted."""
    return sorted(
        (result.config["curator"]["name"], result.scale, result.seed, result.num_captions, setting, bucket, value)
        for result in results
        for setting, values in result.scores.items()
        for bucket, value in values.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    results = results_of(options.studies)
    table = table_of(scores_of(results))
    write_text(options.out / "training.md", table)
    with (
        atomic_path(options.out / "training.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["curator", "scale", "seed", "captions", "setting", "bucket", "accuracy"])
        for result in sorted(results, key=lambda result: (result.config["curator"]["name"], result.scale, result.seed)):
            about = [result.config["curator"]["name"], result.scale, result.seed, result.num_captions]
            for setting, values in sorted(result.scores.items()):
                writer.writerows([*about, setting, bucket, value] for bucket, value in values.items())
    print(table)


if __name__ == "__main__":
    main()
