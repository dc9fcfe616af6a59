"""Batch jobs are submitted once and read once, whenever the process is killed and whatever a job lacks."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.hosted import asking as hosted
from sg.caption.hosted.engine.limits import CanaryError
from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.services.gemini_jobs import GeminiJobs, _operation
from sg.caption.ledger import reading
from sg.caption.ledger.recipes import rename_recipe, task_key
from sg.core.errors import SgError
from tests.caption.hosted.builder import batch_settings, caption, data_folder, settings, start_worker
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.state import State, StoredFile

CASES = Path(__file__).with_name("cases")
IDS = [f"v{number}" for number in range(12)]


def captions(folder: Path, url: str, **values: Any) -> list[str]:
    data = data_folder(folder, IDS)
    path = caption(data, batch_settings(url, **values))
    return list(read_captions(path))


@pytest.mark.parametrize(
    "fault", ["", "failed", "expired", "cancelled", "missing", "duplicate", "foreign", "inline", "error_first"]
)
def test_every_video_gets_one_caption_whatever_a_job_lacks(tmp_path: Path, state: State, url: str, fault: str) -> None:
    state.settings.batch_fault = fault
    state.settings.plan = FaultPlan({"v3": ["503"], "v4": ["max_tokens"], "v5": ["recitation"]})
    assert captions(tmp_path, url) == IDS
    assert not state.files, "input files are deleted"
    assert set(state.paid.values()) == {1} or fault in ("expired", "missing")


def test_jobs_are_limited_by_tasks_and_tokens_and_cost_half(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, IDS)
    config = batch_settings(url, max_tasks=5, enqueued_tokens=10_000)
    path = caption(data, config)
    assert len(state.batches) >= 3
    row = next(read_captions(path).records())
    assert row.cost_usd == pytest.approx((row.input_tokens * 0.30 + row.output_tokens * 2.50) / 2e6)


@pytest.mark.parametrize(("held", "jobs"), [("create", 1), ("upload", 0)])
def test_a_kill_during_a_submission_neither_loses_nor_repeats_the_job(
    tmp_path: Path, state: State, url: str, held: str, jobs: int
) -> None:
    """The process dies while it waits for an answer of the service: the job exists already, or not yet."""
    data = data_folder(tmp_path, IDS)
    state.settings.held = held
    child = start_worker(tmp_path, url, 8, "gemini_batch")
    while not (state.batches if held == "create" else state.uploads):
        assert child.poll() is None, "the process ended before it was killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(state.batches) == jobs
    with reading.open_for_reading(ledger_path(data, batch_settings(url))) as db:
        assert db.execute("SELECT state, job_name, task_count FROM batch_job").fetchall() == [("creating", None, 12)]
        assert db.execute("SELECT DISTINCT state FROM task").fetchall() == [("submitted",)]
    state.settings.held = ""
    state.uploads.clear()
    assert captions(tmp_path, url) == IDS
    assert len(state.batches) == 1 and set(state.paid.values()) == {1} and len(state.paid) == len(IDS)


def test_a_job_from_before_its_recipe_was_renamed_is_read(tmp_path: Path, state: State, url: str) -> None:
    data, config = data_folder(tmp_path, IDS), batch_settings(url)
    state.settings.held = "create"
    child = start_worker(tmp_path, url, 8, "gemini_batch")
    while not state.batches:
        assert child.poll() is None, "the process ended before it was killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    state.settings.held = ""
    recipe, (batch,) = recipe_of(config), state.batches.values()
    with reading.open_for_reading(ledger_path(data, config)) as db:
        items = dict(db.execute("SELECT task_key, item_key FROM task").fetchall())
    for line in batch.lines:  # as an earlier version sent and recorded them
        line["key"] = task_key(items[line["key"]], recipe.former_name)
    assert rename_recipe(ledger_path(data, config), recipe.name, recipe.former_name) == len(IDS)

    assert captions(tmp_path, url) == IDS
    assert len(state.batches) == 1 and set(state.paid.values()) == {1}


def test_input_files_never_exceed_the_store_and_the_run_reports_what_it_waits_for(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, cap = hosted.FileStore, 10_000
    monkeypatch.setattr(hosted, "FileStore", lambda *values: made(*values, cap=cap))
    state.files["files/of-another-program"] = StoredFile("files/of-another-program", "", "", b"", declared_size=9_900)

    def give_back() -> None:
        while "waiting for the file store" not in caplog.text:
            time.sleep(0.01)
        state.files.clear()

    threading.Thread(target=give_back, daemon=True).start()
    with caplog.at_level(logging.INFO):
        assert captions(tmp_path, url) == IDS
    assert "by files that are not ours" in caplog.text
    assert 5_000 < state.peak_bytes <= cap and len(state.batches) > 1


@pytest.mark.parametrize("assumed", [172, 5000])
def test_a_canary_goes_out_as_a_job_of_its_own_and_can_stop_the_run(
    tmp_path: Path, state: State, url: str, assumed: int
) -> None:
    data, config = data_folder(tmp_path, IDS), batch_settings(url)
    config.canary, config.assumed_output_tokens = 4, assumed
    if assumed == 5000:
        with pytest.raises(CanaryError, match="assumed_output_tokens="):
            caption(data, config)
    else:
        caption(data, config)
    sizes = [len(batch.lines) for batch in state.batches.values()]
    assert sizes == ([4] if assumed == 5000 else [4, 8])


def test_jobs_without_answers_end_the_run_and_single_requests_finish_it(tmp_path: Path, state: State, url: str) -> None:
    state.settings.batch_fault = "always_failed"
    with pytest.raises(SgError, match="finish with captioner=gemini"):
        captions(tmp_path, url)
    data = data_folder(tmp_path, IDS)
    path = caption(data, settings(url))
    assert list(read_captions(path)) == IDS


def test_a_job_whose_confirmation_is_lost_is_found_again(tmp_path: Path, state: State, url: str) -> None:
    state.settings.held = "create_reset"
    assert captions(tmp_path, url) == IDS
    assert len(state.batches) == 1 and set(state.paid.values()) == {1}


def test_grpc_codes_of_lines_are_errors_of_the_service(tmp_path: Path, state: State, url: str) -> None:
    """They are reasons for neither a proxy nor a failure: the video is in the next job as it was."""
    codes = {"v1": ["rpc_4", "rpc_13"], "v2": ["rpc_14"], "v3": ["rpc_8", "rpc_8"]}
    state.settings.plan = FaultPlan(codes)
    assert captions(tmp_path, url) == IDS
    assert {key: state.requests[key] for key in codes} == {"v1": 3, "v2": 2, "v3": 3}


def test_the_inline_answers_of_a_real_operation_are_read() -> None:
    operation = json.loads((CASES / "batch_inlined_operation.json").read_text(encoding="utf-8"))
    for without in ("", "response", "metadata"):
        job = _operation({name: value for name, value in operation.items() if name != without})
        service: Any = object.__new__(GeminiJobs)
        ((key, made),) = [service.read_batch_line(line) for line in job.inline_results]
        assert (job.state, key, made.text[:7], made.usage.output) == ("SUCCEEDED", "k1", "A woman", 12)


@pytest.mark.parametrize("fault", ["unreadable", "no_results", "gone"])
def test_a_job_that_succeeded_is_never_sent_again_unless_the_user_says_so(
    tmp_path: Path, state: State, url: str, fault: str
) -> None:
    state.settings.batch_fault = f"always_{fault}"
    data, config = data_folder(tmp_path, IDS), batch_settings(url)
    for _ in range(2):
        with pytest.raises(SgError, match=r"cannot be read.*not sent again.*retry_states=\[submitted\]"):
            caption(data, config)
    assert len(state.batches) == 1 and set(state.paid.values()) == {1}
    state.settings.batch_fault = ""
    config.retry_states = ["submitted"]
    assert list(read_captions(caption(data, config))) == IDS
    assert len(state.batches) == 2


def test_a_stalled_job_is_cancelled(tmp_path: Path, state: State, url: str) -> None:
    state.settings.batch_fault = "stuck"
    assert captions(tmp_path, url, stall_hours=0.0001) == IDS
    assert next(iter(state.batches.values())).state == "BATCH_STATE_CANCELLED"
