"""One table of several studies of one benchmark: reading them, tests corrected together, a row a score."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sg.artefacts.predictions import BUCKETS, SETTINGS
from sg.core.errors import DataError
from sg.core.files import atomic_path
from sg.report.numbers.estimates import ArmScore, difference, spread
from sg.report.numbers.statistics import holm
from sg.report.numbers.study import Arm, Study, read_study
from sg.report.wording import SETTING_TITLES, difference_text, p_text


@dataclass(frozen=True, slots=True)
class StudyArm:
    """An arm of one of the studies, and how tables call it."""

    label: str
    study: Study
    arm: Arm

    def score(self, setting: str) -> ArmScore:
        """The answers in a setting, over the seeds; DataError when it was not asked."""
        found = self.study.score(self.arm, setting)
        if found is None:
            raise DataError(f"{self.study.folder} was not asked {setting}: finish its study first.")
        return found

    def accuracy(self, setting: str) -> str:
        """Percent over the seeds, and their standard deviation: `30.1 ±1.2`."""
        over_seeds = [run.scores[setting]["overall"] for run in self.arm.runs]
        return f"{100 * self.score(setting).accuracy:.1f} ±{spread(over_seeds) or 0:.1f}"

    def against(self, other: "StudyArm | None", setting: str) -> str:
        """The difference to `other` with its interval; empty without another."""
        return "" if other is None else difference_text(difference(self.score(setting), other.score(setting)))


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """The studies; DataError unless all were asked the same questions and the first has a baseline."""
    studies = [read_study(folder) for folder in folders]
    if len({study.questions.ids for study in studies}) > 1:
        raise DataError("The studies were asked different questions: give those of one experiment.")
    if studies[0].baseline is None:
        raise DataError(f"{studies[0].folder} has no finished run without captions.")
    return studies


def baseline_of(studies: Sequence[Study], label: str) -> StudyArm:
    """The arm without captions of the first study."""
    baseline = studies[0].baseline
    assert baseline is not None
    return StudyArm(label, studies[0], baseline)


def corrected_tests(pairs: Iterable[tuple[str, StudyArm, StudyArm]]) -> list[str]:
    """A line for every (title, arm, other) and setting: its p, and that corrected for all of them (Holm)."""
    tests = [(title, arm, other, setting) for title, arm, other in pairs for setting in SETTINGS]
    found = [difference(arm.score(name), other.score(name)).p for _, arm, other, name in tests]
    raw = [1.0 if p is None else p for p in found]
    return [
        f"{title}, {SETTING_TITLES[setting].lower()}: {p_text(p)}, corrected {p_text(adjusted)}"
        for (title, _, _, setting), p, adjusted in zip(tests, raw, holm(raw), strict=True)
    ]


def write_scores(path: Path, columns: Sequence[str], arms: Iterable[tuple[tuple[object, ...], Arm]]) -> None:
    """A CSV with a row a score: what `arms` say of each, then captions, seed, setting, bucket, accuracy in percent."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*columns, "captions", "seed", "setting", "bucket", "accuracy"))
        for about, arm in arms:
            for run in arm.runs:
                for setting in SETTINGS:
                    row = (*about, run.num_captions, run.seed, setting)
                    writer.writerows((*row, bucket, run.scores[setting][bucket]) for bucket in BUCKETS)
