"""Compares mixtures of sources: one table of several studies, one study per mixture.

    python train.py experiment=demo_sources_mix
    python benchmarks/sources/mixtures.py runs/demo_sources_mix-* --out experiments/sources_mix

Writes OUT/mixtures.csv (one row per score) and OUT/mixtures.md: the mean accuracy over seeds with its standard
deviation, and the differences to the run without captions and to the smallest mixture, paired by question, with a 95 %
interval clustered by video. The p values of all differences to the smallest mixture are corrected together (Holm).
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.report.several_studies import StudyArm, baseline_of, corrected_tests, read_studies, write_scores
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import read_manifest
from sg.artefacts.predictions import SETTINGS
from sg.core.files import write_text
from sg.report.numbers.study import Study
from sg.report.wording import SETTING_TITLES


@dataclass(frozen=True, slots=True)
class Mixture(StudyArm):
    """The arm of one mixture, and the number of videos of each source in its core."""

    core: dict[str, int]


def mixtures_of(folders: list[Path]) -> list[Mixture]:
    """The baseline first, then the mixtures by rising number of sources."""
    studies = read_studies(folders)
    found = sorted(map(_mixture, studies), key=lambda mixture: (len(mixture.core), mixture.label))
    none = baseline_of(studies, "no captions")
    return [Mixture(none.label, none.study, none.arm, {}), *found]


def _mixture(study: Study) -> Mixture:
    arm = study.finished[-1]
    run = arm.runs[0]
    weights = {name: part["weight"] for name, part in run.config["data"]["sources"].items() if part["weight"] != 0}
    equal = len(set(weights.values())) == 1
    label = " + ".join(name if equal else f"{weight:g} {name}" for name, weight in weights.items())
    return Mixture(label, study, arm, _core(run.inputs, arm.num_captions))


def _core(inputs: dict[str, str], size: int) -> dict[str, int]:
    """Videos of each source among those that were trained on."""
    drawn = read_manifest(Path(inputs["manifest"]))
    rows = drawn.select(read_forest(Path(inputs["forest"])).core(size)).records()
    return dict(sorted(Counter(row.video_id.partition("-")[0] for row in rows).items()))


def table_of(mixtures: list[Mixture]) -> str:
    base, first, *others = mixtures
    heads = [f"{SETTING_TITLES[name].lower()} | against none | against {first.label}" for name in SETTINGS]
    lines = [f"| mixture | core | {' | '.join(heads)} |", "|---" * (2 + 3 * len(SETTINGS)) + "|"]
    for mixture in mixtures:
        none, smallest = (None if mixture is base else base), (first if mixture in others else None)
        cells = [
            cell
            for setting in SETTINGS
            for cell in (mixture.accuracy(setting), mixture.against(none, setting), mixture.against(smallest, setting))
        ]
        core = " + ".join(f"{count:,}" for count in mixture.core.values()) or "0"
        lines.append(f"| {mixture.label} | {core} | {' | '.join(cells)} |")
    tests = corrected_tests((other.label, other, first) for other in others)
    return "\n".join([*lines, "", *tests]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    mixtures = mixtures_of(options.studies)
    table = table_of(mixtures)
    write_text(options.out / "mixtures.md", table)
    rows = [((mixture.label,), mixture.arm) for mixture in mixtures]
    write_scores(options.out / "mixtures.csv", ("mixture",), rows)
    print(table)


if __name__ == "__main__":
    main()
