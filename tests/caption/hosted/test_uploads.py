"""Videos in the file store of a service: uploaded once, found again, and deleted."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from sg.caption.hosted import asking as hosted
from sg.caption.hosted.engine.uploads import FileStore
from sg.caption.hosted.services.records import Failure
from tests.caption.hosted.builder import data_folder, settings
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.state import State, StoredFile
from tests.caption.hosted.running import run


def test_files_are_uploaded_once_and_deleted_within_the_size_of_the_store(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, stores = hosted.FileStore, []

    def small(*values: Any) -> FileStore:
        assert made(*values).room_bytes == 21_474_836_480
        stores.append(made(*values, cap=5000, poll_s=0.01))
        return stores[-1]

    monkeypatch.setattr(hosted, "FileStore", small)
    data = data_folder(tmp_path, [f"v{i}" for i in range(12)], size=1500)
    with caplog.at_level(logging.INFO):
        assert set(run(data, settings(url, transport="upload")).values()) == {"succeeded"}
    assert state.routes["POST /upload/v1beta/files"] == 12
    assert 3000 <= state.peak_bytes <= 5000, "the service itself would have taken 20 GiB"
    assert "waiting for the file store" in caplog.text
    assert not state.files
    assert not any(value for value in vars(stores[0]).values() if isinstance(value, dict)), "nothing is kept of a file"


def test_space_that_other_programs_free_is_noticed(tmp_path: Path, state: State, url: str) -> None:
    from sg.caption.hosted.services.gemini_jobs import GeminiJobs

    (file := tmp_path / "a.mp4").write_bytes(b"clip:a;")
    state.files["files/foreign"] = StoredFile("files/foreign", "", "", b"", declared_size=100)

    async def go() -> None:
        service = settings(url).service()
        assert isinstance(service, GeminiJobs)
        store = FileStore(service, lambda text: None, cap=100, poll_s=0.01, look_again_s=0.02)
        await store.sweep()
        waiting = asyncio.create_task(store.use(file, "0" * 64, 7, "video/mp4"))
        await asyncio.sleep(0.1)
        assert not waiting.done() and not state.uploads
        del state.files["files/foreign"]
        assert not isinstance(await asyncio.wait_for(waiting, 20), Failure)
        await service.close()

    asyncio.run(go())


def test_a_file_that_the_service_lost_is_uploaded_again(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"a": ["file_gone"]})
    data = data_folder(tmp_path, ["a"])
    assert run(data, settings(url, transport="upload")) == {"a": "succeeded"}
    assert state.routes["POST /upload/v1beta/files"] == 2


def test_unusual_file_names_are_not_sent_in_headers(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, ["a", "b"], names={"a": "-rf öffnen ☃.mp4", "b": "x" * 200 + ".mp4"})
    assert set(run(data, settings(url, transport="upload")).values()) == {"succeeded"}
