"""What the curators' cores are worth in training: one table of several studies, a study a curator.

    python train.py experiment=curation_baselines
    python benchmarks/curation/training.py runs/curation_baselines_* --out experiments/curation_baselines

Writes OUT/training.csv (a row a score) and OUT/training.md: accuracy over seeds with their standard deviation, and the
difference to no captions and to `random` at the same size, paired by question, with a 95 % interval clustered by video.
All differences to `random` are corrected together (Holm).
"""

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.predictions import SETTINGS
from sg.core.errors import DataError
from sg.core.files import atomic_path, write_text
from sg.report.estimates import Sample, difference, spread
from sg.report.statistics import holm
from sg.report.study import BUCKETS, Arm, Study, read_study
from sg.report.wording import SETTING_TITLES, difference_text, p_text

COLUMNS = ("curator", "scale", "captions", "seed", "setting", "bucket", "accuracy")


@dataclass(frozen=True, slots=True)
class Core:
    """What was trained on one core of a curator; the baseline is a core of nothing, of no curator."""

    curator: str
    study: Study
    arm: Arm

    def sample(self, setting: str) -> Sample:
        """The answers in a setting, over the seeds."""
        found = self.study.sample(self.arm, setting)
        if found is None:
            raise DataError(f"{self.study.folder} was not asked {setting}: finish its study first.")
        return found


def cores_of(folders: list[Path]) -> list[Core]:
    """The baseline first, then the cores by size, `random` before the others."""
    studies = [read_study(folder) for folder in folders]
    if len({study.questions.ids for study in studies}) > 1:
        raise DataError("The studies were asked different questions: give those of one experiment.")
    cores = [_core(study, arm) for study in studies for arm in study.finished if not arm.is_baseline]
    cores.sort(key=lambda core: (core.arm.scale, core.curator != "random", core.curator))
    first = studies[0]
    if first.baseline is None:
        raise DataError(f"{first.folder} has no finished run without captions.")
    return [Core("", first, first.baseline), *cores]


def _core(study: Study, arm: Arm) -> Core:
    return Core(arm.runs[0].config["curator"]["name"], study, arm)


def pairs_of(cores: list[Core]) -> list[tuple[Core, Core]]:
    """(a curator's core, the random one of the same size)."""
    random = {core.arm.scale: core for core in cores if core.curator == "random"}
    others = [core for core in cores[1:] if core.curator != "random"]
    return [(core, random[core.arm.scale]) for core in others if core.arm.scale in random]


def table_of(cores: list[Core]) -> str:
    base, against = cores[0], {id(core): random for core, random in pairs_of(cores)}
    heads = [f"{SETTING_TITLES[name].lower()} | against none | against random" for name in SETTINGS]
    lines = [f"| core | curator | {' | '.join(heads)} |", "|---" * (2 + 3 * len(SETTINGS)) + "|"]
    for core in cores:
        cells = []
        for setting in SETTINGS:
            own, over_seeds = core.sample(setting), [run.scores[setting]["overall"] for run in core.arm.runs]
            others = [None if core is base else base, against.get(id(core))]
            cells += [
                f"{100 * own.accuracy:.1f} ±{spread(over_seeds) or 0:.1f}",
                *("" if other is None else difference_text(difference(own, other.sample(setting))) for other in others),
            ]
        lines.append(f"| {core.arm.label} | {core.curator} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_tests(cores)]) + "\n"


def _tests(cores: list[Core]) -> list[str]:
    tests = [(core, random, setting) for core, random in pairs_of(cores) for setting in SETTINGS]
    found = [difference(core.sample(name), random.sample(name)).p for core, random, name in tests]
    raw = [1.0 if p is None else p for p in found]
    return [
        f"{core.curator} against random, {core.arm.label}, {SETTING_TITLES[setting].lower()}: {p_text(p)}, "
        f"corrected {p_text(adjusted)}"
        for (core, _, setting), p, adjusted in zip(tests, raw, holm(raw), strict=True)
    ]


def write_csv(cores: list[Core], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for core in cores:
            for run in core.arm.runs:
                for setting in SETTINGS:
                    about = (core.curator or "none", core.arm.scale, run.num_captions, run.seed, setting)
                    writer.writerows((*about, bucket, run.scores[setting][bucket]) for bucket in BUCKETS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cores = cores_of(options.studies)
    table = table_of(cores)
    write_text(options.out / "training.md", table)
    write_csv(cores, options.out / "training.csv")
    print(table)


if __name__ == "__main__":
    main()
