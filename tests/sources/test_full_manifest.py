"""The benchmark of a full-size manifest runs on a small one and measures every step."""

import runpy
from pathlib import Path

from tests.study.commands import ROOT


def test_a_manifest_is_scanned_filtered_joined_and_cut_to_a_core(tmp_path: Path) -> None:
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "sources" / "full_manifest.py"))
    benchmark["make"](tmp_path, 20_000)
    result = benchmark["measure"](tmp_path, 20_000, 4_000)
    assert {name: rows for name, rows, _ in result["steps"]} == {
        "annotations matched with file names": 19_800,
        "manifest read and checked": 20_000,
        "filtered to usable videos": 19_400,
        "captions read": 19_400,
        "joined with captions": 19_400,
        "merge forest read and checked": 19_400,
        "cut to core-4000, with captions": 4_000,
    }
