"""Batch jobs: submitted once, read back once, whatever is killed or lost in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.engine.batches import BatchRun
from sg.caption.hosted import caption_with_service
from sg.caption.hosted_config import BatchConfig, HostedCaptionerConfig
from sg.caption.services.gemini_jobs import GeminiJobs
from sg.core.errors import SgError
from sg.core.tracking import LoggerConfig
from tests.caption.fake_gemini.faults import FaultPlan
from tests.caption.fake_gemini.state import State
from tests.caption.hosted_builder import data_folder, settings

IDS = [f"v{number}" for number in range(12)]


def batch_settings(url: str, **values: Any) -> HostedCaptionerConfig:
    batch = BatchConfig(poll_s=0.02, max_poll_s=0.05, **values)
    return settings(url, kind="gemini_batch", batch=batch)


def captions(folder: Path, url: str, **values: Any) -> list[str]:
    data = data_folder(folder, IDS)
    path = caption_with_service(data, batch_settings(url, **values), data.manifest_path, LoggerConfig(kind="csv"))
    return list(read_captions(path))


@pytest.mark.parametrize("fault", ["", "failed", "expired", "cancelled", "missing", "duplicate", "foreign"])
def test_every_clip_gets_one_caption_whatever_a_job_lacks(tmp_path: Path, state: State, url: str, fault: str) -> None:
    state.settings.batch_fault = fault
    state.settings.plan = FaultPlan({"v3": ["503"], "v4": ["max_tokens"], "v5": ["recitation"]})
    assert captions(tmp_path, url) == IDS
    assert not state.files, "input files are deleted"


def test_jobs_are_cut_by_clips_and_tokens_and_cost_half(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, IDS)
    config = batch_settings(url, max_tasks=5, enqueued_tokens=10_000)
    path = caption_with_service(data, config, data.manifest_path, LoggerConfig(kind="csv"))
    assert len(state.batches) >= 3
    row = next(read_captions(path).records())
    assert row.cost_usd == pytest.approx((row.input_tokens * 0.30 + row.output_tokens * 2.50) / 2e6)


def test_a_job_submitted_before_a_crash_is_adopted(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = BatchRun._write_job

    async def crash(self: BatchRun, display_name: str, job_name: str) -> None:
        raise RuntimeError("killed between submission and recording")

    monkeypatch.setattr(BatchRun, "_write_job", crash)
    with pytest.raises(RuntimeError):
        captions(tmp_path, url)
    monkeypatch.setattr(BatchRun, "_write_job", written)
    assert captions(tmp_path, url) == IDS
    assert len(state.batches) == 1
    assert state.summary()["second_paid"] == 0


def test_a_job_that_was_never_submitted_is_submitted_again(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = GeminiJobs.create_batch

    async def crash(self: GeminiJobs, model: str, file_name: str, display_name: str) -> None:
        raise RuntimeError("killed before submission")

    monkeypatch.setattr(GeminiJobs, "create_batch", crash)
    with pytest.raises(RuntimeError):
        captions(tmp_path, url)
    monkeypatch.setattr(GeminiJobs, "create_batch", created)
    assert captions(tmp_path, url) == IDS
    assert len(state.batches) == 1


def test_jobs_that_give_nothing_end_the_run_and_single_requests_go_on(tmp_path: Path, state: State, url: str) -> None:
    state.settings.batch_fault = "always_failed"
    with pytest.raises(SgError, match="finish with captioner=gemini"):
        captions(tmp_path, url)
    data = data_folder(tmp_path, IDS)
    path = caption_with_service(data, settings(url), data.manifest_path, LoggerConfig(kind="csv"))
    assert list(read_captions(path)) == IDS


def test_a_job_that_hangs_is_cancelled(tmp_path: Path, state: State, url: str) -> None:
    state.settings.batch_fault = "stuck"
    assert captions(tmp_path, url, stall_hours=0.0001) == IDS
    assert next(iter(state.batches.values())).state == "BATCH_STATE_CANCELLED"
