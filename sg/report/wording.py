"""How numbers and names are written: the same in the terminal, in Markdown and on the page."""

import re
from collections.abc import Iterable, Sequence

from sg.artefacts.predictions import BUCKETS, PROBES, SETTINGS
from sg.report.numbers.estimates import Estimate
from sg.report.numbers.summary import Summary, TableRow

SETTING_TITLES = {name: name.replace("_", " ").capitalize() for name in (*SETTINGS, *PROBES)}
"""`without_subtitles` -> `Without subtitles`, and so on."""
NO_INTERVAL = "[no interval]"
"""Written where the data carry none: all items are about one video, or every video has the same value."""
BUCKET_TITLES = {name: name.capitalize() for name in BUCKETS}


def percent(value: float | None) -> str:
    """One decimal, or a dash for a missing value."""
    return "–" if value is None else f"{value:.1f}"


def signed(value: float, decimals: int = 1) -> str:
    """One decimal with its sign; a value that rounds to zero is `0.0`, without a sign."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def interval(estimate: Estimate) -> str:
    """`[+6.6, +11.5]`: the interval of a difference, with signs."""
    if not estimate.has_interval:
        return NO_INTERVAL
    return f"[{signed(estimate.low)}, {signed(estimate.high)}]"


def difference_text(estimate: Estimate) -> str:
    """`+9.0 [+6.6, +11.5]`."""
    return f"{signed(estimate.value)} {interval(estimate)}"


def size_text(estimate: Estimate) -> str:
    """`9.0 [6.6, 11.5]`: magnitude and interval without sign, for sentences that say the direction in words."""
    if not estimate.has_interval:
        return f"{abs(estimate.value):.1f} {NO_INTERVAL}"
    low, high = sorted((abs(estimate.low), abs(estimate.high)))
    return f"{abs(estimate.value):.1f} [{low:.1f}, {high:.1f}]"


def accuracy_text(estimate: Estimate) -> str:
    """`38.0 [35.1, 40.9]`."""
    if not estimate.has_interval:
        return f"{estimate.value:.1f} {NO_INTERVAL}"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def loss_text(estimate: Estimate) -> str:
    """`1.202 [1.151, 1.253]`: a loss in nats."""
    if not estimate.has_interval:
        return f"{estimate.value:.3f} {NO_INTERVAL}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def loss_difference_text(estimate: Estimate) -> str:
    """`-0.151 [-0.185, -0.117]`: a difference of losses in nats; below 0 is better."""
    if not estimate.has_interval:
        return f"{signed(estimate.value, 3)} {NO_INTERVAL}"
    return f"{signed(estimate.value, 3)} [{signed(estimate.low, 3)}, {signed(estimate.high, 3)}]"


EQUAL_NOISE = (
    "seeds are assumed to be about equally noisy in all arms; if one arm of seven alone was noisy, its simulated "
    "intervals covered 83 to 88 %"
)
"""What an interval over seeds assumes, and its coverage where that is wrong (`benchmarks/statistics`)."""


def covered_text(estimates: Iterable[Estimate | None]) -> str:
    """What the intervals are over: `videos and training seeds`, `videos, not over seeds`, or both kinds."""
    kinds = {one.covers_seeds for one in estimates if one is not None and one.has_interval}
    if kinds == {True, False}:
        return "videos, and over training seeds where there are several"
    return "videos and training seeds" if kinds == {True} else "videos, not over seeds"


def once_text(estimate: Estimate) -> str:
    """` (one training seed: over videos only)` behind a claim whose interval does not cover training again, or ""."""
    is_once = len(estimate.seeds) == 1 and not estimate.covers_seeds
    return " (one training seed: over videos only)" if is_once else ""


def p_text(p: float | None) -> str:
    """`p = .045`, `p < .001`."""
    if p is None:
        return "p unknown"
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def holm_text(p: float | None, uncorrected: float | None = None) -> str:
    """`p = .045 after Holm`; of a study of an older version, which did not correct it, `p = .012, not corrected`."""
    if p is None:
        return "p unknown" if uncorrected is None else f"{p_text(uncorrected)}, not corrected"
    return f"{p_text(p)} after Holm"


def duration_text(seconds: float) -> str:
    """`41 s`, `3 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def hours_text(hours: float) -> str:
    """Device hours as `9.4 s`, `12 min`, `2.5 h`, `1,240 h`."""
    if hours >= 100:
        return f"{hours:,.0f} h"
    if hours >= 2:
        return f"{hours:.1f} h"
    return f"{60 * hours:.0f} min" if hours >= 1 / 30 else f"{3600 * hours:.1f} s"


def plural(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`, `2,700 questions`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 0`, `seeds 0, 1 and 2`."""
    return f"seed{'' if len(seeds) == 1 else 's'} {joined([str(seed) for seed in seeds])}"


def joined(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""


def captions_text(num_captions: int, scale: int, scale_label: str) -> str:
    """`530k captions`; in the demo `5,300 captions (standing for 530k)`; if few lack `530k captions (529,990 used)`."""
    if num_captions in (0, scale):
        return f"{scale_label} captions"
    if is_stand_in(num_captions, scale):
        return f"{num_captions:,} captions (standing for {scale_label})"
    return f"{scale_label} captions ({num_captions:,} used)"


def is_stand_in(num_captions: int, scale: int) -> bool:
    """True if a run used so few captions that they only stand for its scale, as in the demo world."""
    return 0 < 2 * num_captions < scale


def captions_axis(rows: Iterable[TableRow]) -> str:
    """Name of the axis of scales; in the demo it says for how many captions its largest label stands."""
    largest = max(rows, key=lambda row: row.scale, default=None)
    if largest is None or not is_stand_in(largest.num_captions, largest.scale):
        return "number of captions"
    return f"number of captions ({largest.scale_label} stands for {largest.num_captions:,})"


def stand_in_note(summary: Summary) -> str:
    """A sentence that says for how many captions those of the demo stand; empty for other data."""
    rows = [row for table in summary.tables for row in table.rows if is_stand_in(row.num_captions, row.scale)]
    if not rows:
        return ""
    largest = max(rows, key=lambda row: row.scale)
    return (
        f"One caption stands for {largest.scale / largest.num_captions:,.0f} here: the scale {largest.scale_label} is "
        f"{largest.num_captions:,} captions, standing for {largest.scale_label}."
    )


def model_text(summary: Summary) -> str:
    """`Model tiny (249,504 weights in connector and language model)`; empty if no run recorded it."""
    weights = "" if summary.weights is None else f" ({summary.weights:,} weights in connector and language model)"
    return f"Model {summary.model}{weights}" if summary.model else ""


def study_title(name: str) -> str:
    """Title of a study from the name of its folder: `demo_scaling-2e0ceb93` is `Demo scaling`."""
    words = re.sub(r"-[0-9a-f]{8}$", "", name).replace("_", " ").strip() or name
    return words[:1].upper() + words[1:]
