"""The GPU benchmark runs at a tiny size without a GPU."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.study.commands import ROOT


def test_the_gpu_benchmark_takes_a_model_of_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.models.hf.families import FAMILIES

    folder = FAMILIES["internvl"].save(tmp_path / "model")
    own = ["--model", str(folder), "--steps", "1", "--samples", "2", "--rank", "2", "--peak-tflops", "1"]
    monkeypatch.setattr(sys, "argv", ["gpu_7b.py", *own])
    runpy.run_path(str(ROOT / "benchmarks" / "train" / "gpu_7b.py"), run_name="__main__")
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["model"].startswith(str(folder)) and float(rows["tokens/s"].replace(",", "")) > 0


def test_the_gpu_benchmark_prints_tokens_per_second_and_mfu_at_a_tiny_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["--size", "tiny", "--steps", "1", "--samples", "2", "--rank", "2", "--peak-tflops", "1"]
    monkeypatch.setattr(sys, "argv", ["gpu_7b.py", *tiny])
    runpy.run_path(str(ROOT / "benchmarks" / "train" / "gpu_7b.py"), run_name="__main__")
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert float(rows["tokens/s"].replace(",", "")) > 0
    assert rows["MFU"].endswith("%")
