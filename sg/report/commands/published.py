"""`python -m sg.report published`: the published tables with recovered counts, and which claims they support.

The study publishes no answers, so every interval assumes how often two of its models disagree (`DISCORDANCE`).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sg.artefacts.predictions import DURATIONS, OVERALL
from sg.core.scales import scale_label
from sg.report.numbers.curve_fits import fit_curves
from sg.report.numbers.load import DISCORDANCE
from sg.report.numbers.published import (
    Key,
    PublishedCell,
    PublishedDelta,
    published_deltas,
    read_published,
    sensitivity,
)
from sg.report.numbers.statistics import (
    benjamini_hochberg,
    holm,
    minimum_detectable_effect,
    paired_standard_error,
    wilson_interval,
)
from sg.report.wording import BUCKET_TITLES, SETTING_TITLES, p_text, signed

Cells = Mapping[Key, PublishedCell]


def published_text(discordance: float = DISCORDANCE) -> str:
    """Return the text that `published` prints: the tables, the misprints, and which claims the numbers support."""
    cells = read_published()
    deltas = published_deltas(cells, discordance)
    settings = list(dict.fromkeys(setting for setting, _, _ in cells))
    blocks = [_table(cells, deltas, setting) for setting in settings]
    blocks += [_misprints(cells), _verdict(cells, deltas, settings, discordance)]
    return "\n\n".join(blocks) + "\n"


def _table(cells: Cells, deltas: Sequence[PublishedDelta], setting: str) -> str:
    by_key = {(delta.setting, delta.scale, delta.bucket): delta for delta in deltas}
    lines = [
        f"{SETTING_TITLES[setting]}, as published: accuracy in %, right answers/questions, difference from no "
        "captions in "
        "points",
        "captions  bucket    printed      counts  Wilson 95 %    printed  from counts [95 %]      p",
    ]
    for (name, scale, bucket), cell in cells.items():
        if name != setting:
            continue
        wilson = wilson_interval(cell.correct, cell.questions)
        label = (scale_label(scale) if scale else "none") if bucket == OVERALL else ""
        line = f"{label:<10}{BUCKET_TITLES[bucket]:<10}{cell.printed:7.1f}  {f'{cell.correct}/{cell.questions}':>10}"
        line += f"  [{100 * wilson.low:.1f}, {100 * wilson.high:.1f}]"
        if delta := by_key.get((name, scale, bucket)):
            printed = signed(cell.printed_delta or 0.0) + ("!" if cell.slip else "")
            span = f"{signed(delta.value)} [{signed(delta.low)}, {signed(delta.high)}]"
            line += f"  {printed:>8}  {span:<20}{p_text(delta.p).removeprefix('p '):>8}"
        lines.append(line)
    return "\n".join(lines)


def _misprints(cells: Cells) -> str:
    slips = [
        f"  {SETTING_TITLES[setting].lower()}, {scale_label(scale)}, {BUCKET_TITLES[bucket].lower()}: {cell.slip} "
        f"({signed(cell.delta or 0.0)} from the counts)"
        for (setting, scale, bucket), cell in cells.items()
        if cell.slip
    ]
    return "\n".join([f"Misprints (marked !): {len(slips)}", *slips])


def _verdict(cells: Cells, deltas: Sequence[PublishedDelta], settings: Sequence[str], discordance: float) -> str:
    lines = [
        f"Which claims the numbers support, if two of the models disagree on {100 * discordance:.0f} % of the "
        "questions "
        "(no answers were published; clustering by video and training variance are not included)"
    ]
    lines += [*_claims_of_cells(deltas), f"  - {sensitivity(cells)}"]
    for setting in settings:
        lines += _claims_of_scale(cells, setting, discordance)
    falling = sum(delta.value < 0 for delta in deltas if delta.bucket != OVERALL)
    buckets = sum(delta.bucket != OVERALL for delta in deltas)
    lines.append(
        f"  - 'gains across all durations': no, {falling} of the {buckets} differences by duration are negative."
    )
    rising = [setting for setting in settings if _rises(cells, setting, "short")]
    lines.append(
        "  - 'short-video accuracy rises consistently with scale': "
        + (f"yes {', '.join(rising)}." if rising else "no, in neither setting.")
    )
    error = paired_standard_error(discordance, cells[settings[0], 0, OVERALL].questions)
    lines.append(
        f"  - 80 % of such studies would detect a true difference of {100 * minimum_detectable_effect(error):.1f} "
        "points; "
        "smaller ones are detected less often. Each scale was trained once, so variance across training runs is "
        "unknown."
    )
    return "\n".join(lines)


def _claims_of_cells(deltas: Sequence[PublishedDelta]) -> list[str]:
    p_values = [delta.p for delta in deltas]
    plain, family, rate = (
        sum(p < 0.05 for p in values) for values in (p_values, holm(p_values), benjamini_hochberg(p_values))
    )
    best = min(deltas, key=lambda delta: delta.p)
    strongest = f"{SETTING_TITLES[best.setting].lower()}, {scale_label(best.scale)}, {best.bucket}"
    return [
        f"  - Of {len(deltas)} differences from no captions, {plain} have p < .05 without correction, {family} after "
        "Holm "
        f"and {rate} after Benjamini-Hochberg. Smallest p: {strongest}, {signed(best.value)} points, {p_text(best.p)}."
    ]


def _claims_of_scale(cells: Cells, setting: str, discordance: float) -> list[str]:
    from scipy.stats import chi2, norm, spearmanr

    scales = sorted({scale for name, scale, _ in cells if name == setting and scale})
    values = np.array([cells[setting, scale, OVERALL].correct for scale in scales], dtype=float)
    base = cells[setting, 0, OVERALL]
    questions = base.questions
    # Variance of the part of a run's accuracy that it does not share with the other runs: half the variance of the
    # difference between two runs. The difficulty of the questions is common to all runs and cancels.
    one = discordance / 2 / questions
    shares = values / questions
    spread = float(((shares - shares.mean()) ** 2).sum() / one)
    gain = float(shares.mean() - base.correct / questions)
    z = gain / math.sqrt(one * (1 + 1 / len(scales)))
    ranks = [spearmanr(scales, [cells[setting, s, bucket].correct for s in scales]).statistic for bucket in DURATIONS]
    points = [100 * base.correct / questions, *(100 * shares)]
    fits = fit_curves([0, *scales], points, [100 * math.sqrt(one)] * len(points))
    shapes = ", ".join(f"{fit.name} {fit.aic:.1f} (chi-squared {p_text(fit.p)})" for fit in fits)
    p = p_text(float(2 * norm.sf(abs(z))))
    return [
        f"  - {SETTING_TITLES[setting]}: mean of all {len(scales)} caption runs minus no captions "
        f"{signed(100 * gain)} points, "
        f"z {z:.2f}, {p}; test that the {len(scales)} scales are equally accurate "
        f"{p_text(float(chi2.sf(spread, len(scales) - 1)))} "
        f"(standard deviation {100 * shares.std(ddof=1):.2f} points, {100 * math.sqrt(one):.2f} expected by chance).",
        f"    Rank correlation of scale with accuracy on {', '.join(DURATIONS)} videos: "
        f"{', '.join(f'{rank:+.1f}' for rank in ranks)}; "
        f"AIC of the fitted curves (lower is better): {shapes}.",
    ]


def _rises(cells: Cells, setting: str, bucket: str) -> bool:
    values = [cell.correct for (name, _, where), cell in sorted(cells.items()) if (name, where) == (setting, bucket)]
    return values == sorted(values)
