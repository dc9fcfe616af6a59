"""How numbers and names are written: the same in the terminal, in Markdown and on the page."""

from collections.abc import Sequence

from sg.artefacts.predictions import BUCKETS, PROBES, SETTINGS
from sg.report.numbers.estimates import Estimate

SETTING_TITLES = {name: name.replace("_", " ").capitalize() for name in (*SETTINGS, *PROBES)}
"""`without_subtitles` -> `Without subtitles`, and so on."""
NO_INTERVAL = "[no interval]"
"""Written where the data carry none: all items are about one video, or every video has the same value."""
BUCKET_TITLES = {name: name.capitalize() for name in BUCKETS}


def percent(value: float | None) -> str:
    """One decimal, or a dash for a missing value."""
    return "–" if value is None else f"{value:.1f}"


def signed(value: float) -> str:
    """One decimal with its sign; a value that rounds to zero is `0.0`, without a sign."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


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
        return f"{estimate.value:+.3f} {NO_INTERVAL}"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def p_text(p: float | None) -> str:
    """`p = .045`, `p < .001`."""
    if p is None:
        return "p unknown"
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


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
