"""The API key reaches the service and nothing else."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import os
import pickle
import resource
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sg.caption.hosted.captioners.openai_compatible import OpenAICompatibleCaptionerConfig
from sg.caption.hosted.run import caption_with_service
from sg.caption.hosted.services.records import Failure, Request
from sg.caption.hosted.services.secrets import Secret, read_key
from sg.core.errors import ConfigError, ExitCode, SgError
from sg.core.tracking import LoggerConfig
from tests.caption.hosted.builder import batch_settings, caption, data_folder, settings
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.running import in_thread
from tests.caption.hosted.fake_gemini.state import State
from tests.study.commands import ROOT
from tests.wandb_file import read_offline_run

CANARY = "AIza" + "CanaryKey_0123456789-abcdefghijklmn"


def files_with_the_key(folder: Path, key: str = CANARY) -> list[str]:
    """Files that contain the key as it is, in base64, or in the compressed columns of a table."""
    forms = [key.encode(), *(base64.b64encode(b" " * shift + key.encode())[4:-4] for shift in range(3))]
    return [path.name for path in folder.rglob("*") if path.is_file() and any(form in content(path) for form in forms)]


def content(path: Path) -> bytes:
    if path.suffix == ".wandb":
        return path.read_bytes() + read_offline_run(path).encode()
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = pq.read_table(path)
    return f"{table.to_pylist()} {table.schema.to_string(show_schema_metadata=True)}".encode()


def test_the_search_for_the_key_finds_it_wherever_it_is_put(tmp_path: Path) -> None:
    (tmp_path / "plain.log").write_text(f"x{CANARY}y", encoding="utf-8")
    (tmp_path / "wrapped").write_bytes(base64.b64encode(b"key: " + CANARY.encode() + b" end"))
    pq.write_table(pa.table({"text": ["a" * 1000, CANARY * 20]}), tmp_path / "rows.parquet", compression="zstd")
    pq.write_table(pa.table({"text": ["a"]}).replace_schema_metadata({"k": CANARY}), tmp_path / "info.parquet")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        db.execute("CREATE TABLE t (v)")
        db.execute("INSERT INTO t VALUES (?)", (CANARY,))
        db.commit()
    (tmp_path / "clean").write_text("AIza", encoding="utf-8")
    found = {"plain.log", "wrapped", "rows.parquet", "info.parquet", "ledger.sqlite"}
    assert set(files_with_the_key(tmp_path)) == found


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
    handler = logging.StreamHandler(stream)  # the run itself puts the filter on it
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
    for written in ("*.wandb", "ledger.sqlite", "captions.parquet", "records.parquet", "metrics.csv", "manifest.json"):
        assert list(tmp_path.rglob(written)), written
    assert "Using selector" in stream.getvalue(), "debug lines were written"
    assert files_with_the_key(tmp_path) == []
    assert CANARY not in stream.getvalue() + out.out + out.err
    assert "careless line with [key hidden]" in stream.getvalue()


def test_failures_pickle_and_print_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setenv("GEMINI_API_KEY", CANARY)
    state = State()
    state.settings.plan = FaultPlan({"*": ["403", "503", "reset"]})
    with in_thread(state) as url:
        service = settings(url).service()

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


def test_a_traceback_with_the_variables_of_our_code_does_not_show_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crash reporters print the variables of every frame."""
    monkeypatch.setenv("GEMINI_API_KEY", CANARY)
    state = State()
    state.settings.key = "another"
    with in_thread(state) as url:
        data = data_folder(tmp_path, ["a"])
        try:
            caption(data, settings(url))
        except SgError as error:
            shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "service = " in shown and "API key not valid" in shown
    assert CANARY not in shown


def test_a_key_in_a_setting_is_refused_without_being_shown(tmp_path: Path) -> None:
    words = ["data=demo", "captioner=gemini", f"captioner.base_url=http://x/{CANARY}"]
    done = subprocess.run(
        [sys.executable, "-m", "sg.caption", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == ExitCode.USAGE and "looks like an API key" in done.stderr
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


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["gemini", "gemini_batch", "openai_compatible"])
def test_neither_key_nor_video_follows_a_redirect(
    tmp_path: Path, state: State, url: str, kind: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "own-key")
    other = State()
    with in_thread(other) as elsewhere:
        state.settings.redirect = (code, elsewhere)
        made = {
            "gemini": lambda: settings(url),
            "gemini_batch": lambda: batch_settings(url),
            "openai_compatible": lambda: settings(f"{url}/v1", OpenAICompatibleCaptionerConfig, name="own"),
        }[kind]()
        with pytest.raises(SgError, match="redirects"):
            caption(data_folder(tmp_path, ["a"]), made)
    assert not other.routes and not other.requests, "the other host was never asked"


@pytest.mark.parametrize("kind", ["gemini", "openai_compatible"])
def test_a_plain_http_proxy_never_sees_a_key(
    tmp_path: Path, state: State, url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = State()
    with in_thread(proxy) as address:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("no_proxy", "")
        if kind == "gemini":
            caption(data_folder(tmp_path, ["a"]), settings(url))
        else:
            caption(data_folder(tmp_path, ["a"]), settings(f"{url}/v1", OpenAICompatibleCaptionerConfig, name="own"))
    assert not proxy.routes and not proxy.requests and state.paid["a"] == 1


@pytest.mark.parametrize(
    "address", ["http://me:secret@host/v1", "http://me@host", "ftp://host", "host:80", "http://", "https://h/?key=1"]
)
def test_an_address_with_a_user_name_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(ConfigError, match=r"captioner\.base_url should be an address") as caught:
        settings(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("fault", ["huge", "gzip_bomb"])
def test_an_answer_is_read_up_to_a_bound(tmp_path: Path, state: State, url: str, fault: str) -> None:
    state.settings.plan = FaultPlan({"a": [fault]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    caption(data_folder(tmp_path, ["a"]), settings(url))
    assert state.requests["a"] == 2
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 250_000, "kB; the bomb has 200 MB, and 40 MB are in the fake"
