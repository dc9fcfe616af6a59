"""The findings of a scan: one row each in `findings.parquet`, counts and examples for the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sg.core.files import atomic_path
from sg.sources.scan.items import shown

MISSING = "missing"
EXTRA = "extra"
AMBIGUOUS = "ambiguous"
REPEATED_ID = "repeated_id"
SECOND_FILE = "second_file"
BAD_RECORD = "bad_record"
BAD_CAPTION = "bad_caption"
NOTHING_CAPTION = "nothing_caption"
OTHER_SPLIT = "other_split"
DUPLICATE = "duplicate"
IN_BENCHMARK = "in_benchmark"
_COLUMNS = ("kind", "video_id", "path", "detail")
_EXAMPLES = 5
_ROWS_PER_BATCH = 20_000


class Findings:
    """Collects findings and writes them to the file in batches, so that their number costs no memory."""

    def __init__(self, path: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = defaultdict(Counter)
        self.examples: dict[str, list[str]] = defaultdict(list)
        self._path = path
        self._open = ExitStack()
        self._rows: list[tuple[str, str, str, str]] = []

    def __enter__(self) -> Self:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in _COLUMNS])
        temporary = self._open.enter_context(atomic_path(self._path))
        self._writer = self._open.enter_context(pq.ParquetWriter(temporary, self._schema, compression="zstd"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._open.__exit__(kind, error, trace)

    def add(self, kind: str, video_id: str, path: str, detail: str, reason: str = "") -> None:
        """Record a finding; `reason` is a class that the report counts within the kind."""
        self.counts[kind] += 1
        if reason:
            self.reasons[kind][reason] += 1
        values = (kind, video_id, shown(path), shown(detail))
        if len(self.examples[kind]) < _EXAMPLES:
            self.examples[kind].append(" ".join(value for value in values[1:] if value))
        self._rows.append(values)
        if len(self._rows) >= _ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_batch(pa.record_batch(list(map(list, zip(*self._rows, strict=True))), self._schema))
        self._rows.clear()

    def plain(self) -> dict[str, Any]:
        """Counts, reasons and examples as plain data."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "reasons": {kind: dict(counts.most_common()) for kind, counts in sorted(self.reasons.items())},
            "examples": dict(sorted(self.examples.items())),
        }
