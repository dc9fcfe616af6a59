"""A run of the tests lists what it left out, and CI refuses every skipped test that a missing GPU does not explain."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.commands import ROOT

TESTS = """
import pytest

@pytest.mark.skipif(True, reason="needs a CUDA device")
def test_gpu(): ...

@pytest.mark.skipif({browser}, reason="needs chromium")
def test_browser(): ...
"""


@pytest.mark.parametrize(("browser", "strict", "code"), [(True, "1", 1), (True, "0", 0), (False, "1", 0)])
@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_only_a_missing_gpu_excuses_a_skipped_test(
    browser: bool, strict: str, code: int, workers: list[str], tmp_path: Path
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS.format(browser=browser), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.skips", "--rootdir", str(tmp_path), *workers, str(tmp_path)],
        cwd=tmp_path, env=os.environ | {"SG_NO_SKIPS": strict, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "needs a CUDA device\n      -> run on a machine with an NVIDIA GPU" in done.stdout
    assert ("apt-get install chromium" in done.stdout) == browser
    assert ("SG_NO_SKIPS=1 forbids 1 of these reasons" in done.stdout) == bool(code)
