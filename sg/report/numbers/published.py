"""Published numbers that the tables show beside the study's own, from `experiments/scaling_webvid/published.csv`."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sg.core.errors import DataError
from sg.core.layout import located

PUBLISHED_BENCHMARK = "video_mme"
PUBLISHED_FILE = located("experiments/scaling_webvid/published.csv")


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
