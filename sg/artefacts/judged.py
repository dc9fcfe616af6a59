"""Judged captions: one row per caption with its scores and its claims, in a file beside the captions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from math import nan
from pathlib import Path
from typing import Any

from sg.artefacts.names import check_video_id
from sg.artefacts.tables import ROWS_PER_BATCH, read_table, record_batches, record_schema, write_batches
from sg.core.content import file_content
from sg.core.errors import DataError

KIND = "judged captions"
TRUE, FALSE, UNCLEAR = "true", "false", "unclear"
_REPEATED = "video {!r} was judged twice, expected one row per video id"


@dataclass(frozen=True, slots=True)
class JudgedCaption:
    """The verdicts of a judge on one caption.

    Attributes:
        video_id: the video.
        judge: what judged: `facts`, or a captioner and its model.
        claims: what the caption says, one fact each.
        verdicts: for each claim whether it is true of the video: `true`, `false` or `unclear`.
        missing: facts of the reference that the caption does not state.
        recall: the share of the reference's facts that the caption states; NaN without a reference.
        cost_usd: what the verdicts cost.
        alignment: how well the caption fits the frames, by an image-text model; NaN without one.
        claim_alignments: the same of each claim; empty without a model.
    """

    video_id: str
    judge: str
    claims: tuple[str, ...]
    verdicts: tuple[str, ...]
    missing: tuple[str, ...] = ()
    recall: float = nan
    cost_usd: float = 0.0
    alignment: float = nan
    claim_alignments: tuple[float, ...] = ()

    def called(self, verdict: str) -> list[str]:
        """The claims with this verdict."""
        return [claim for claim, said in zip(self.claims, self.verdicts, strict=True) if said == verdict]

    @property
    def precision(self) -> float:
        """The share of true claims among those that were decided; NaN if none was."""
        decided = [verdict for verdict in self.verdicts if verdict != UNCLEAR]
        return decided.count(TRUE) / len(decided) if decided else nan

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; the precision where there is no recall."""
        if self.recall != self.recall:
            return self.precision
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, slots=True)
class _JudgedRow:
    """A judged caption as it is stored: the scores are columns."""

    video_id: str
    judge: str
    precision: float
    recall: float
    f1: float
    claims: tuple[str, ...]
    verdicts: tuple[str, ...]
    missing: tuple[str, ...]
    cost_usd: float
    alignment: float
    claim_alignments: tuple[float, ...]


SCORES = ("precision", "recall", "f1", "alignment")
"""The scores of a caption, which gates and curators can use; each is a column."""


def judged_path(captions: Path, judge: str) -> Path:
    """The file of the verdicts of the judge of this name on the captions in the file `captions`."""
    return captions.with_name(f"judged-{judge}.parquet")


def write_judged(path: Path, rows: Iterable[JudgedCaption], info: Mapping[str, Any]) -> Path:
    """Write judged captions, atomically; `info` says which captions and which judge.

    Raises:
        DataError: an id is unsafe or repeated.
    """
    schema = record_schema(_JudgedRow)
    stored = (_JudgedRow(**{field.name: getattr(row, field.name) for field in fields(_JudgedRow)}) for row in rows)
    batches = record_batches(stored, schema, _check, _REPEATED)
    write_batches(path, batches, schema, KIND, info)
    return path


def read_judged(path: Path) -> Iterator[JudgedCaption]:
    """The rows of the file.

    Raises:
        MissingInputError: there is no such file.
        DataError: the file has another format, or is damaged.
    """
    table, _ = read_table(path, record_schema(_JudgedRow), KIND)
    for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
        for row in batch.to_pylist():
            lists = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
            kept = {field.name for field in fields(JudgedCaption)}
            yield JudgedCaption(**{name: value for name, value in (row | lists).items() if name in kept})


def _check(row: _JudgedRow) -> None:
    check_video_id(row.video_id)


def read_scores(path: Path, score: str) -> dict[str, float]:
    """One of `SCORES` of each judged caption, by video id; captions without it are left out.

    Raises:
        MissingInputError, DataError: as `read_judged`.
        DataError: no caption has this score.
    """
    values = ((row.video_id, getattr(row, score)) for row in read_judged(path))
    found = {video_id: value for video_id, value in values if value == value}
    if not found:
        raise DataError(
            f"{path} has no {score} of any caption: expected one of {', '.join(SCORES)} that its judge gives."
        )
    return found


def judged_content(path: str | None) -> str | None:
    """What identifies a setting that names a file of judged captions: its content, or the path without a file."""
    return file_content(Path(path)) if path is not None and Path(path).is_file() else path
