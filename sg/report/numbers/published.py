"""Published numbers that the tables show beside the study's own, from `experiments/scaling_webvid/published.csv`."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sg.core.errors import DataError
from sg.core.layout import located
from sg.report.numbers.statistics import holm, paired_standard_error
from sg.report.wording import joined

PUBLISHED_BENCHMARK = "video_mme"
PUBLISHED_FILE = located("experiments/scaling_webvid/published.csv")
DISCORDANCES = (0.10, 0.13, 0.22)
"""Discordances at which the published differences are tested: the same weights with a changed input, a value between,
and a model with its fine-tuned successor (`docs/reference/video_mme.md`, section 6)."""


@dataclass(frozen=True, slots=True)
class PublishedCell:
    """One printed accuracy (percent) with the counts recovered from it; `slip` describes a misprint, if any."""

    printed: float
    correct: int
    questions: int
    printed_delta: float | None
    delta: float | None
    slip: str


Key = tuple[str, int, str]
"""Setting, scale (number of captions), bucket."""


def read_published(path: Path = PUBLISHED_FILE) -> Mapping[Key, PublishedCell]:
    """Read the cells of the published tables by (setting, scale, bucket); DataError if a column is missing."""
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            return {(row["setting"], int(row["scale"]), row["bucket"]): _cell(row) for row in csv.DictReader(stream)}
        except (KeyError, ValueError) as error:
            raise DataError(f"{path} is not a table of published numbers ({error!r}): restore it from git") from error


def published_for(benchmark: str) -> Mapping[Key, PublishedCell]:
    """Return the published cells to show beside results on `benchmark`; empty for all but Video-MME."""
    return read_published() if benchmark == PUBLISHED_BENCHMARK else {}


def _cell(row: Mapping[str, str]) -> PublishedCell:
    return PublishedCell(
        printed=float(row["printed"]),
        correct=int(row["correct"]),
        questions=int(row["questions"]),
        printed_delta=float(row["printed_delta"]) if row["printed_delta"] else None,
        delta=float(row["delta_from_counts"]) if row["delta_from_counts"] else None,
        slip=row["slip"],
    )


@dataclass(frozen=True, slots=True)
class PublishedDelta:
    """A published difference from the baseline in points, with its 95 % interval and p at an assumed discordance."""

    setting: str
    scale: int
    bucket: str
    value: float
    low: float
    high: float
    p: float


def published_deltas(cells: Mapping[Key, PublishedCell], discordance: float) -> list[PublishedDelta]:
    """Return every difference from the baseline, computed from the recovered counts."""
    from scipy.special import ndtr, ndtri

    found = []
    for (setting, scale, bucket), cell in cells.items():
        if scale == 0:
            continue
        value = (cell.correct - cells[setting, 0, bucket].correct) / cell.questions
        error = paired_standard_error(discordance, cell.questions, value)
        half = float(ndtri(0.975)) * error
        p = float(2 * ndtr(-abs(value) / error))
        found.append(PublishedDelta(setting, scale, bucket, 100 * value, 100 * (value - half), 100 * (value + half), p))
    return found


def sensitivity(cells: Mapping[Key, PublishedCell]) -> str:
    """Return a sentence on how many differences survive under each assumed discordance."""
    plain, corrected = [], []
    for discordance in DISCORDANCES:
        p_values = [delta.p for delta in published_deltas(cells, discordance)]
        plain.append(sum(p < 0.05 for p in p_values))
        corrected.append(sum(p < 0.05 for p in holm(p_values)))
    counts = ([round(100 * share) for share in DISCORDANCES], plain, corrected)
    shares, first, second = (joined([str(item) for item in items]).replace(" and ", " or ") for items in counts)
    return (
        f"If two models disagree on {shares} % of the questions: {first} of the {len(p_values)} differences from no "
        f"captions have p < .05, and {second} after Holm's correction."
    )
