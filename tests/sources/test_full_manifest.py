"""The benchmark of a full-size manifest runs on a small one and measures every step."""

import runpy
from pathlib import Path

from tests.study.commands import ROOT


def test_a_manifest_is_scanned_filtered_joined_and_cut_to_a_core(tmp_path: Path) -> None:
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "sources" / "full_manifest.py"))
    benchmark["make"](tmp_path, 20_000)
    results = [benchmark["measure"](part, tmp_path, 20_000, 4_000) for part in ("scan", "study")]
    assert {name: rows for result in results for name, rows, _, _ in result["steps"]} == {
        "scan of files that were opened before": 19_800,
        "manifest checked and filtered to usable videos": 20_000 - 600,
        "joined with captions": 19_400,
        "content hash of the manifest": 20_000,
        "content hash of the captions": 19_400,
        "captions that no other video has": 19_400,
        "merge forest read and checked": 19_400,
        "cut to core-4000, with captions": 4_000,
    }
