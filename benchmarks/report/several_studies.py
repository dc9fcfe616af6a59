"""Comparison of several studies on one benchmark: reading them, tests corrected together, one CSV row per score."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.predictions import BUCKETS, SETTINGS
from sg.core.errors import DataError
from sg.core.files import atomic_path
from sg.report.numbers.estimates import ArmScore, Estimate, difference, spread
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import Arm, Study, read_study
from sg.report.wording import SETTING_TITLES, difference_text, p_text


@dataclass(frozen=True, slots=True)
class StudyArm:
    """An arm of one of the studies, and its name in tables."""

    label: str
    study: Study
    arm: Arm

    def score(self, setting: str) -> ArmScore:
        """Score the answers in a setting over all seeds; DataError if there are none."""
        found = self.study.score(self.arm, setting)
        if found is None:
            raise DataError(f"{self.study.folder} has no answers {SETTING_TITLES[setting].lower()}: finish it first.")
        return found

    def accuracy(self, setting: str) -> str:
        """Mean accuracy over seeds in percent ± standard deviation over seeds: `30.1 ±1.2`."""
        over_seeds = [run.scores[setting]["overall"] for run in self.arm.runs]
        return f"{self.score(setting).value:.1f} ±{spread(over_seeds) or 0:.1f}"

    def against(self, other: "StudyArm | None", setting: str) -> str:
        """Difference from `other` in points with its 95 % interval; empty for None."""
        return "" if other is None else difference_text(self.minus(other, setting))

    def minus(self, other: "StudyArm", setting: str) -> Estimate:
        """Difference from `other` over the seeds that both have; DataError if there are none."""
        found = difference(self.score(setting), other.score(setting))
        if found is None:
            raise DataError(f"{self.label} and {other.label} share no training seed: run both with the same seeds.")
        return found


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """Read the studies; DataError unless all answered the same questions and the first has a baseline."""
    studies = [read_study(folder) for folder in folders]
    if len({study.questions.ids for study in studies}) > 1:
        raise DataError("The studies answered different questions: give the studies of one experiment.")
    if studies[0].baseline is None:
        raise DataError(f"{studies[0].folder} has no finished run without captions: run data.scale=0 first.")
    return studies


def baseline_of(studies: Sequence[Study], label: str) -> StudyArm:
    """Return the arm without captions of the first study."""
    baseline = studies[0].baseline
    assert baseline is not None
    return StudyArm(label, studies[0], baseline)


def corrected_tests(pairs: Iterable[tuple[str, StudyArm, StudyArm]]) -> list[str]:
    """Return one line per (title, arm, other) and setting: p, and p after Holm's correction over all lines."""
    tests = [(title, arm, other, setting) for title, arm, other in pairs for setting in SETTINGS]
    found = [arm.minus(other, name).p for _, arm, other, name in tests]
    raw = [1.0 if p is None else p for p in found]
    return [
        f"{title}, {SETTING_TITLES[setting].lower()}: {p_text(p)}, corrected {p_text(adjusted)}"
        for (title, _, _, setting), p, adjusted in zip(tests, raw, holm(raw), strict=True)
    ]


def write_scores(path: Path, columns: Sequence[str], arms: Iterable[tuple[tuple[object, ...], Arm]]) -> None:
    """Write a CSV with one row per score: the given columns, captions, seed, setting, bucket, accuracy in percent."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*columns, "captions", "seed", "setting", "bucket", "accuracy"))
        for about, arm in arms:
            for run in arm.runs:
                for setting in SETTINGS:
                    row = (*about, run.num_captions, run.seed, setting)
                    writer.writerows((*row, bucket, run.scores[setting][bucket]) for bucket in BUCKETS)
