"""The report of a scan: counts as JSON for programs, and as a page of text."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import OK, VideoRecord
from sg.core.files import write_record, write_text
from sg.sources.config import AnnotatedDataConfig
from sg.sources.files.cutting import NOT_CUT
from sg.sources.files.disk import Listing
from sg.sources.scan.annotations import Annotations
from sg.sources.scan.findings import (
    AMBIGUOUS,
    BAD_CAPTION,
    BAD_RECORD,
    DUPLICATE,
    EXTRA,
    IN_BENCHMARK,
    MISSING,
    NOTHING_CAPTION,
    OTHER_SPLIT,
    REPEATED_ID,
    SECOND_FILE,
    Findings,
)
from sg.sources.scan.items import SetReader, shown
from sg.sources.scan.overlap import BenchmarkVideos

JSON_FILE, TEXT_FILE = "scan_report.json", "scan_report.txt"
UNREADABLE = "unreadable"
_MEANINGS = {
    MISSING: "annotated videos without a file",
    EXTRA: "files without an annotated video",
    AMBIGUOUS: "videos with several possible files, or files with several possible videos",
    UNREADABLE: "files that cannot be read",
    DUPLICATE: "files with the same bytes as an earlier one (left out)",
    REPEATED_ID: "further rows of a video (the first is used)",
    SECOND_FILE: "further files of a video (one is used)",
    IN_BENCHMARK: "videos that are part of the benchmark (left out)",
    OTHER_SPLIT: "videos of other splits",
    BAD_RECORD: "records without a usable video",
    BAD_CAPTION: "captions that cannot be used (their videos are kept without)",
    NOTHING_CAPTION: "captions such as None or NULL, kept as texts (captioner=given does not train on them)",
    NOT_CUT: "clips that could not be cut from their whole video",
}
_LENGTH_SLACK_S = 2.0
_LISTED_FOLDERS = 20


@dataclass(frozen=True, slots=True)
class ScanReport:
    """The counts of a scan as plain data."""

    plain: dict[str, Any]

    @classmethod
    def of(
        cls,
        config: AnnotatedDataConfig,
        source: SetReader,
        annotations: Annotations,
        listing: Listing,
        rows: Iterable[VideoRecord],
        findings: Findings,
        benchmark: BenchmarkVideos | None,
    ) -> ScanReport:
        """Count everything."""
        counted = _counts(rows)
        return cls(
            {
                "source": source.name,
                "licence": source.licence,
                "videos": config.videos,
                "annotations": dict(annotations.rows),
                "files_on_disk": len(listing.files),
                **{key: counted[key] for key in ("found", "usable", "captioned", "hours")},
                "gigabytes": round(sum(listing.files.sizes) / 1e9, 3),
                **findings.plain(),
                "benchmark": {
                    "compared_with": None if benchmark is None else str(benchmark.root),
                    "youtube_ids": 0 if benchmark is None else len(benchmark.youtube_ids),
                    "files": 0 if benchmark is None else len(benchmark.listing.files),
                },
                **{key: counted[key] for key in ("ids_that_differ_in_case_only", "length_differs_from_annotation")},
                "linked_folders": [shown(name) for name in listing.linked_folders[:_LISTED_FOLDERS]],
                "unreadable_folders": [shown(name) for name in listing.unreadable_folders[:_LISTED_FOLDERS]],
                "frame_folders": len(listing.frame_folders),
                "left_out_of_shards": dict(listing.left_out_of_shards),
            }
        )

    def text(self) -> str:
        """The report as text."""
        plain = self.plain
        lines = [
            f"{plain['source']}: {plain['usable']:,} usable of {plain['found']:,} videos with a file "
            f"({plain['files_on_disk']:,} files on disk), {plain['captioned']:,} with a caption, "
            f"{plain['hours']:,.1f} hours",
            f"  licence: {plain['licence']}",
            *(f"  {rows:,} records in {shown(name)}" for name, rows in plain["annotations"].items()),
        ]
        for kind, meaning in _MEANINGS.items():
            if count := plain["counts"].get(kind):
                lines += [f"  {count:>9,} {meaning}{_listed(plain['reasons'].get(kind, {}))}"]
                lines += [f"            e.g. {example}" for example in plain["examples"][kind][:2]]
        for key, meaning in (
            (
                "ids_that_differ_in_case_only",
                "ids that differ in case only: a case-insensitive file system confuses them",
            ),
            (
                "length_differs_from_annotation",
                f"videos more than {_LENGTH_SLACK_S:g} s longer or shorter than annotated",
            ),
        ):
            if plain[key]:
                lines.append(f"  {plain[key]:>9,} {meaning}")
        lines += [f"  link, not followed: {name}" for name in plain["linked_folders"]]
        lines += [f"  not readable: {name}" for name in plain["unreadable_folders"]]
        if plain["frame_folders"]:
            lines.append(f"  {plain['frame_folders']:>9,} folders of frames (not read: only video files are)")
        if plain["left_out_of_shards"]:
            lines.append(f"  left out of the shards{_listed(plain['left_out_of_shards'])}")
        compared = plain["benchmark"]["compared_with"]
        lines.append(f"  benchmark: {'not compared (set data.benchmark)' if compared is None else compared}")
        return "\n".join(lines) + "\n"


def write_report(folder: Path, report: ScanReport) -> None:
    """Write `scan_report.json` and `scan_report.txt`."""
    write_record(folder / JSON_FILE, report.plain)
    write_text(folder / TEXT_FILE, report.text())


def _listed(counts: Mapping[str, int]) -> str:
    return ": " + ", ".join(f"{count:,} {shown(name)}" for name, count in counts.items()) if counts else ""


def _counts(rows: Iterable[VideoRecord]) -> dict[str, float]:
    """The counts that need the rows, in one pass."""
    found = usable = captioned = differing = 0
    durations, folded = array("d"), array("q")
    for row in rows:
        found += 1
        differing += _length_differs(row)
        folded.append(hash(row.video_id.casefold()))
        if row.status == OK:
            usable += 1
            captioned += bool(row.original_caption)
            durations.append(row.duration_s)
    return {
        "found": found,
        "usable": usable,
        "captioned": captioned,
        "hours": round(sum(durations) / 3600, 3),
        "ids_that_differ_in_case_only": _num_shared(folded),
        "length_differs_from_annotation": differing,
    }


def _num_shared(values: array[int]) -> int:
    """The number of values that are there more than once."""
    import numpy as np

    counts = np.unique(np.array(values), return_counts=True)[1]
    return int(counts[counts > 1].sum())


def _length_differs(row: VideoRecord) -> bool:
    extra = json.loads(row.extra)
    declared = extra["end_ms"] - extra["start_ms"] if "end_ms" in extra else extra.get("declared_ms")
    return row.status == OK and declared is not None and abs(row.duration_s - declared / 1000) > _LENGTH_SLACK_S
