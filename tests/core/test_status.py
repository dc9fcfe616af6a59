"""`sg status` shows from another shell what a long command does, and notices a command that was killed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch

from sg.core import status
from sg.core.errors import DataError
from sg.core.progress import Progress
from sg.core.status import read_status, reported_in
from sg.core.tracking import LoggerConfig, Tracker
from sg.status.__main__ import _text
from tests.wandb_file import read_offline_run


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write at every advance instead of every few seconds."""
    monkeypatch.setattr(status, "_FIRST_WRITE_S", 0.0)
    monkeypatch.setattr(status, "_INTERVAL_S", 0.0)


def test_a_running_command_is_seen_with_rate_money_and_failures(tmp_path: Path) -> None:
    with reported_in(tmp_path, "runs/x"), Progress("captions", 8, "videos") as bar:
        bar.cost_usd = 0.5
        bar.advance(2)
        bar.fail()
        (job,) = read_status(tmp_path)
        assert (job["state"], job["pid"], job["result_folder"]) == ("running", os.getpid(), "runs/x")
        (seen,) = job["bars"]
        assert (seen["done"], seen["total"], seen["failed"], seen["cost_usd"]) == (3, 8, 1, 0.5)
        assert seen["per_s"] > 0 and seen["left_s"] > 0
    assert read_status(tmp_path)[0]["state"] == "done"


def test_the_use_of_a_gpu_is_that_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(uuid="4f-2", total_memory=80e9)
    gpu = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 1, get_device_properties=lambda place: device,
        memory_allocated=lambda place: 10e9, max_memory_allocated=lambda place: 12e9,
    )  # fmt: skip
    monkeypatch.setattr(torch, "cuda", gpu)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU-0a-1, 3, 100'\necho 'GPU-4f-2, 87, 20000'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with reported_in(tmp_path, ""), Progress("train", 8) as bar:
        bar.advance()
    (seen,) = read_status(tmp_path)[0]["gpus"]
    assert (seen["use_percent"], seen["allocated_gb"], seen["peak_gb"]) == (87.0, 10.0, 12.0)
    assert seen["used_gb"] == pytest.approx(20.97, abs=0.01)
    assert any(
        "GPU 0: 87 % busy, 10.0 of 80.0 GB, peak 12.0 GB" in line
        for line in _text(tmp_path, read_status(tmp_path), 0.0).splitlines()
    )
    program.write_text("#!/bin/sh\nexit 9\n")
    assert status._gpu_use()[0]["use_percent"] is None


def test_wandb_has_the_numbers_of_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = Tracker(LoggerConfig(), tmp_path / "run", name="n", group="g", job_type="caption", settings={})
    with tracker, reported_in(tmp_path, ""), Progress("captions", 8, "videos") as bar:
        bar.cost_usd = 0.5
        bar.advance(2)
        bar.fail()
    (file,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    seen = read_offline_run(file)
    for key in ("done", "failed", "per_s", "left_s", "cost_usd"):
        assert f"progress/captions/{key}" in seen


def test_a_failed_command_keeps_its_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError), reported_in(tmp_path, ""), Progress("scan", 2) as bar:
        bar.advance()
        raise DataError("file x is damaged.")
    assert [(job["state"], job["reason"]) for job in read_status(tmp_path)] == [("failed", "file x is damaged.")]


def test_a_killed_command_is_lost_also_if_its_process_id_is_used_again(tmp_path: Path) -> None:
    code = (
        "import os, sys; from sg.core import status; from sg.core.progress import Progress\n"
        "status._FIRST_WRITE_S = status._INTERVAL_S = 0.0\n"
        "with status.reported_in(sys.argv[1], ''), Progress('train', 9) as bar:\n"
        "    bar.advance(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert read_status(tmp_path)[0]["state"] == "lost"
    with patch.object(status, "_process_began", lambda pid: "another"):
        assert read_status(tmp_path)[0]["state"] == "lost"


def test_a_command_of_another_machine_is_lost_when_it_gives_no_news(tmp_path: Path) -> None:
    with reported_in(tmp_path, ""), Progress("train", 9) as bar:
        bar.advance()
        with patch("socket.gethostname", lambda: "elsewhere"):
            assert read_status(tmp_path)[0]["state"] == "running"
            with patch.object(status, "NEWS_WITHIN_S", -1.0):
                assert read_status(tmp_path)[0]["state"] == "lost"


def test_short_commands_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_FIRST_WRITE_S", 3.0)
    monkeypatch.setattr(status, "_INTERVAL_S", 5.0)
    with reported_in(tmp_path, ""), Progress("scan", 2) as bar:
        bar.advance(2)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_text_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sg.status.__main__ import main

    with reported_in(tmp_path, "runs/x"), Progress("captions", 8, "videos") as bar:
        bar.advance(3)
    monkeypatch.setattr(sys, "argv", ["status", f"paths.work={tmp_path}", "format=json"])
    main()
    record = json.loads(capsys.readouterr().out)
    assert (record["kind"], record["running"], record["jobs"][0]["bars"][0]["done"]) == ("status", 0, 3)
    monkeypatch.setattr(sys, "argv", ["status", f"paths.work={tmp_path}"])
    main()
    text = capsys.readouterr().out
    assert "captions: 3/8 videos" in text and "result: runs/x" in text
