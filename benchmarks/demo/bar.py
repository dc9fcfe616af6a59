"""Checks the results of a study of the demo world against its requirements, and prints each with the measured value.

    python benchmarks/demo/bar.py runs/demo_scaling-<hash>

The requirements are in `experiments/demo_null/README.md`. The exit code is 1 where one of them is not met.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from sg.artefacts.predictions import SWAPPED_VIDEO, WITH_SUBTITLES, WITHOUT_SUBTITLES, ZEROED_VIDEO
from sg.report.numbers.estimates import accuracy, difference
from sg.report.numbers.statistics import mcnemar
from sg.report.numbers.study import Arm, Study, read_study

Demand = tuple[str, str, bool | None]
"""Requirement, measured value, whether it is met; None for a value that is shown for information."""


def gains(study: Study, baseline: Arm, largest: Arm) -> Iterator[Demand]:
    for setting, least_gain, least_bound in ((WITHOUT_SUBTITLES, 6.0, 3.0), (WITH_SUBTITLES, -100.0, 0.0)):
        new, base = study.score(largest, setting), study.score(baseline, setting)
        assert new is not None and base is not None
        gain = difference(new, base)
        assert gain is not None
        asked = f"gain of {largest.scale_label}, {setting}: 95 % interval above {least_bound:g}"
        asked += f", mean at least {least_gain:g}" if least_gain > 0 else ""
        shown = f"{gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"
        yield asked, shown, gain.value >= least_gain and gain.low > least_bound
    for run, new_row, base_row in zip(
        largest.runs, largest.correct[WITHOUT_SUBTITLES], baseline.correct[WITHOUT_SUBTITLES], strict=True
    ):
        p = mcnemar(np.nan_to_num(new_row), np.nan_to_num(base_row), study.questions.videos).exact_p
        yield f"seed {run.seed}: exact McNemar, {WITHOUT_SUBTITLES}, p < .001", f"p = {p:.1e}", p < 1e-3


def curve(study: Study) -> Iterator[Demand]:
    scores = np.array([np.nanmean(arm.correct[WITHOUT_SUBTITLES], axis=1) * 100 for arm in study.finished])
    scales = np.array([arm.scale for arm in study.finished])
    few, many = scores[scales <= 100_000].mean(axis=0), scores[scales >= 200_000].mean(axis=0)
    for run, low, high in zip(study.finished[0].runs, few, many, strict=True):
        yield (
            f"seed {run.seed}: mean of 200k and more above mean of 100k and less",
            f"{low:.1f} -> {high:.1f}",
            high > low,
        )
    rank = spearmanr(np.repeat(scales, scores.shape[1]), scores.ravel()).statistic
    yield "Spearman of scale and accuracy over seeds and scales at least .7", f"{rank:.2f}", rank >= 0.7


def subtitles_and_probes(study: Study, baseline: Arm) -> Iterator[Demand]:
    with_subs, without = study.score(baseline, WITH_SUBTITLES), study.score(baseline, WITHOUT_SUBTITLES)
    assert with_subs is not None and without is not None
    gap = difference(with_subs, without)
    assert gap is not None
    yield "no captions: subtitles are worth at least 8 points", f"{gap.value:+.1f}", gap.value >= 8
    for probe in (ZEROED_VIDEO, SWAPPED_VIDEO):
        for arm in study.finished:
            found = study.score(arm, probe)
            assert found is not None
            score = accuracy(found).value
            yield f"{probe}, {arm.label}: within 25 +- 4 %", f"{score:.1f} %", abs(score - 25) <= 4


def controls(study: Study, largest: Arm) -> Iterator[Demand]:
    equal = [arm for arm in study.controls if arm.control == "equal_steps" and arm.runs]
    yield "an equal-step control was run", f"{len(equal)} arm(s)", bool(equal)
    for arm in study.controls:
        for setting in (WITHOUT_SUBTITLES, WITH_SUBTITLES):
            against = (
                largest if arm.control == "equal_steps" else next(a for a in study.finished if a.scale == arm.scale)
            )
            new, base = study.score(against, setting), study.score(arm, setting)
            gain = None if new is None or base is None else difference(new, base)
            if gain is not None:
                shown = f"{gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"
                yield f"{against.scale_label} minus {arm.label}, {setting}", shown, None


def main(folder: Path) -> int:
    """Print the requirements; returns the number of those that are not met."""
    study = read_study(folder)
    baseline, largest = study.baseline, study.finished[-1]
    assert baseline is not None
    demands = [
        *gains(study, baseline, largest),
        *curve(study),
        *subtitles_and_probes(study, baseline),
        *controls(study, largest),
    ]
    for asked, shown, met in demands:
        print(f"{ {True: 'met', False: 'NOT MET', None: 'shown'}[met]:8} {asked}: {shown}")
    return sum(met is False for _, _, met in demands)


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1])) else 0)
