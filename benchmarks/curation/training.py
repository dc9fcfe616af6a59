"""Training results of the cores of several curators: one table of several studies, one study per curator.

    python train.py experiment=curation_baselines
    python benchmarks/curation/training.py runs/curation_baselines_* --out experiments/curation_baselines

Writes OUT/training.csv (one row per score) and OUT/training.md: accuracy over seeds with their standard deviation, and
the difference to no captions and to `random` at the same size, paired by question, with a 95 % interval clustered by
video. All differences to `random` are corrected together (Holm).
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.report.several_studies import StudyArm, baseline_of, corrected_tests, read_studies, write_scores
from sg.artefacts.predictions import SETTINGS
from sg.core.files import write_text
from sg.report.numbers.study import Arm, Study
from sg.report.wording import SETTING_TITLES


def cores_of(folders: list[Path]) -> list[StudyArm]:
    """The baseline first, labelled by no curator, then the cores by size, `random` before the others."""
    studies = read_studies(folders)
    cores = [_core(study, arm) for study in studies for arm in study.finished if not arm.is_baseline]
    cores.sort(key=lambda core: (core.arm.scale, core.label != "random", core.label))
    return [baseline_of(studies, ""), *cores]


def _core(study: Study, arm: Arm) -> StudyArm:
    return StudyArm(arm.runs[0].config["curator"]["name"], study, arm)


def random_of(cores: list[StudyArm], core: StudyArm) -> StudyArm | None:
    """The random core of the same size; None for the baseline and the random cores, or if there is no such core."""
    if core.label in ("", "random"):
        return None
    return next((other for other in cores if (other.label, other.arm.scale) == ("random", core.arm.scale)), None)


def table_of(cores: list[StudyArm]) -> str:
    heads = [f"{SETTING_TITLES[name].lower()} | against none | against random" for name in SETTINGS]
    lines = [f"| core | curator | {' | '.join(heads)} |", "|---" * (2 + 3 * len(SETTINGS)) + "|"]
    for core in cores:
        base, random = (cores[0] if core.label else None), random_of(cores, core)
        cells = [
            cell
            for setting in SETTINGS
            for cell in (core.accuracy(setting), core.against(base, setting), core.against(random, setting))
        ]
        lines.append(f"| {core.arm.label} | {core.label} | {' | '.join(cells)} |")
    pairs = [(core, other) for core in cores if (other := random_of(cores, core)) is not None]
    tests = corrected_tests((f"{core.label} against random, {core.arm.label}", core, other) for core, other in pairs)
    return "\n".join([*lines, "", *tests]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cores = cores_of(options.studies)
    table = table_of(cores)
    write_text(options.out / "training.md", table)
    rows = [((core.label or "none", core.arm.scale), core.arm) for core in cores]
    write_scores(options.out / "training.csv", ("curator", "scale"), rows)
    print(table)


if __name__ == "__main__":
    main()
