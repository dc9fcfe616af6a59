"""The API key reaches the service and nothing else."""

from __future__ import annotations

import io
import logging
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from sg.caption.hosted import caption_with_service
from sg.caption.services.build import build_service
from sg.caption.services.records import Failure, Request
from sg.caption.services.secrets import REDACTION, Secret, read_key
from sg.core.errors import ConfigError
from sg.core.tracking import LoggerConfig
from tests.caption.fake_gemini.faults import FaultPlan
from tests.caption.fake_gemini.running import in_thread
from tests.caption.fake_gemini.state import State
from tests.caption.hosted_builder import data_folder, settings
from tests.study.commands import ROOT

CANARY = "AIza" + "CanaryKey_0123456789-abcdefghijklmn"


def files_with_the_key(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_no_file_log_trace_or_pickle_of_a_run_holds_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every fault once, W&B offline, debug logging of everything; then every byte that was written is searched."""
    monkeypatch.setenv("GEMINI_API_KEY", CANARY)
    state = State()
    state.settings.key = CANARY
    script = ["429_retry", "500", "503_html", "reset", "truncated", "blocked"]
    state.settings.plan = FaultPlan({"a": script, "b": ["400_media"]})
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(REDACTION)
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        with in_thread(state) as url:
            data, config = data_folder(tmp_path, ["a", "b", "c"]), settings(url)
            caption_with_service(data, config, data.manifest_path, LoggerConfig(kind="wandb", mode="offline"))
            root.error("a careless line with %s", CANARY)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    out = capfd.readouterr()
    assert state.paid["c"] == 1, "the service got the key"
    assert list(tmp_path.rglob("*.wandb")) and list(tmp_path.rglob("ledger.sqlite"))
    assert files_with_the_key(tmp_path) == []
    assert CANARY not in stream.getvalue() + out.out + out.err
    assert "careless line with [key hidden]" in stream.getvalue()


def test_failures_pickle_and_print_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setenv("GEMINI_API_KEY", CANARY)
    state = State()
    state.settings.plan = FaultPlan({"*": ["403", "503", "reset"]})
    with in_thread(state) as url:
        service = build_service(settings(url))

        async def ask() -> list[object]:
            request = Request("m", "s", "u", None)
            found: list[object] = [await service.generate(request) for _ in range(3)]
            await service.close()
            return found

        failures = asyncio.run(ask())
    assert all(isinstance(failure, Failure) for failure in failures)
    assert CANARY.encode() not in pickle.dumps(failures)
    assert CANARY not in repr(failures) + repr(service)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(CANARY))


def test_a_traceback_through_the_code_that_holds_the_key_does_not_show_it() -> None:
    secret = Secret(CANARY)
    try:
        raise RuntimeError(f"something with {secret} and {secret!r}")
    except RuntimeError:
        assert CANARY not in traceback.format_exc()


def test_a_key_in_a_setting_is_refused_without_being_shown(tmp_path: Path) -> None:
    words = ["data=demo", "captioner=gemini", f"captioner.base_url=http://x/{CANARY}"]
    done = subprocess.run(
        [sys.executable, "-m", "sg.caption", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1 and "looks like an API key" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_a_key_file_must_be_its_owner_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(CANARY + "\n", encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key(("NO_SUCH_VARIABLE",), str(path))
    path.chmod(0o600)
    assert read_key(("NO_SUCH_VARIABLE",), str(path)).reveal() == CANARY
    with pytest.raises(ConfigError, match="does not exist"):
        read_key(("NO_SUCH_VARIABLE",), str(tmp_path / "none"))
    assert os.environ.get("NO_SUCH_VARIABLE") is None
