"""What mixtures of sources are worth in training: one table of several studies, a study a mixture.

    python train.py experiment=demo_sources_mix
    python benchmarks/sources/mixtures.py runs/demo_sources_mix-* --out experiments/sources_mix

Writes OUT/mixtures.csv (a row a score) and OUT/mixtures.md: accuracy over seeds with their standard deviation, and the
difference to no captions and to the smallest mixture, paired by question, with a 95 % interval clustered by video. All
differences to the smallest mixture are corrected together (Holm).
"""

import argparse
import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import read_manifest
from sg.artefacts.predictions import SETTINGS
from sg.core.errors import DataError
from sg.core.files import atomic_path, write_text
from sg.report.estimates import Sample, difference, spread
from sg.report.statistics import holm
from sg.report.study import BUCKETS, Arm, Study, read_study
from sg.report.wording import SETTING_TITLES, difference_text, p_text

COLUMNS = ("mixture", "captions", "seed", "setting", "bucket", "accuracy")
NONE = "no captions"


@dataclass(frozen=True, slots=True)
class Mixture:
    """The arm of one mixture, how tables call it, and how many films of each source its core holds."""

    label: str
    study: Study
    arm: Arm
    core: dict[str, int]

    def sample(self, setting: str) -> Sample:
        """The answers in a setting, over the seeds."""
        found = self.study.sample(self.arm, setting)
        if found is None:
            raise DataError(f"{self.study.folder} was not asked {setting}: finish its study first.")
        return found


def mixtures_of(folders: list[Path]) -> list[Mixture]:
    """The baseline first, then the mixtures by rising number of sources."""
    studies = [read_study(folder) for folder in folders]
    if len({study.questions.ids for study in studies}) > 1:
        raise DataError("The studies were asked different questions: give those of one experiment.")
    found = [_mixture(study) for study in studies]
    found.sort(key=lambda mixture: (len(mixture.core), mixture.label))
    first = studies[0]
    if first.baseline is None:
        raise DataError(f"{first.folder} has no finished run without captions.")
    return [Mixture(NONE, first, first.baseline, {}), *found]


def _mixture(study: Study) -> Mixture:
    arm = study.finished[-1]
    run = arm.runs[0]
    weights = {name: part["weight"] for name, part in run.config["data"]["sources"].items() if part["weight"] != 0}
    equal = len(set(weights.values())) == 1
    label = " + ".join(name if equal else f"{weight:g} {name}" for name, weight in weights.items())
    return Mixture(label, study, arm, _core(run.inputs, arm.num_captions))


def _core(inputs: dict[str, str], size: int) -> dict[str, int]:
    """Films of each source among those that were trained on."""
    drawn = read_manifest(Path(inputs["manifest"]))
    rows = drawn.select(read_forest(Path(inputs["forest"])).core(size)).records()
    return dict(sorted(Counter(row.video_id.partition("-")[0] for row in rows).items()))


def table_of(mixtures: list[Mixture]) -> str:
    base, first, *others = mixtures
    heads = [f"{SETTING_TITLES[name].lower()} | against none | against {first.label}" for name in SETTINGS]
    lines = [f"| mixture | core | {' | '.join(heads)} |", "|---" * (2 + 3 * len(SETTINGS)) + "|"]
    for mixture in mixtures:
        cells = []
        for setting in SETTINGS:
            own = mixture.sample(setting)
            over_seeds = [run.scores[setting]["overall"] for run in mixture.arm.runs]
            against = [
                "" if skip else difference_text(difference(own, other.sample(setting)))
                for other, skip in ((base, mixture is base), (first, mixture not in others))
            ]
            cells += [f"{100 * own.accuracy:.1f} ±{spread(over_seeds) or 0:.1f}", *against]
        core = " + ".join(f"{count:,}" for count in mixture.core.values()) or "0"
        lines.append(f"| {mixture.label} | {core} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_tests(first, others)]) + "\n"


def _tests(first: Mixture, others: list[Mixture]) -> list[str]:
    pairs = [(other, setting) for other in others for setting in SETTINGS]
    found = [difference(other.sample(name), first.sample(name)).p for other, name in pairs]
    raw = [1.0 if p is None else p for p in found]
    return [
        f"{other.label}, {SETTING_TITLES[setting].lower()}: {p_text(p)}, corrected {p_text(adjusted)}"
        for (other, setting), p, adjusted in zip(pairs, raw, holm(raw), strict=True)
    ]


def write_csv(mixtures: list[Mixture], path: Path) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for mixture in mixtures:
            for run in mixture.arm.runs:
                for setting in SETTINGS:
                    about = (mixture.label, run.num_captions, run.seed, setting)
                    writer.writerows((*about, bucket, run.scores[setting][bucket]) for bucket in BUCKETS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    mixtures = mixtures_of(options.studies)
    table = table_of(mixtures)
    write_text(options.out / "mixtures.md", table)
    write_csv(mixtures, options.out / "mixtures.csv")
    print(table)


if __name__ == "__main__":
    main()
