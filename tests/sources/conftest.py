"""Fixtures of the tests of the sources: small video files, and probing them without child processes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sg.video.workers import WorkerPool
from sg.video.writer import write_video


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe files in this process: starting a child process takes longer than the files of these tests."""
    monkeypatch.setattr(
        "sg.video.workers.WorkerPool", lambda function, _, timeout_s: WorkerPool(function, 0, timeout_s)
    )


@pytest.fixture
def write_file() -> Callable[..., Path]:
    """A function that writes a video file of four frames; every call writes other bytes."""
    shades = iter(range(10, 250, 4))

    def write(path: Path, frames: int = 4) -> Path:
        return write_video(path, np.full((frames, 48, 64, 3), next(shades), np.uint8), fps=2)

    return write
