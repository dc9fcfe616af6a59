"""Wire forms of batch jobs and of the file store: nothing is paid twice, nothing is lost, nothing waits for ever."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sg.artefacts.captions import read_captions
from sg.caption.hosted.engine import job_results
from sg.caption.hosted.engine.limits import QuotaExhaustedError, ServiceRefusedError, ServiceUnavailableError
from sg.caption.hosted.settings import QuotaConfig
from sg.core.errors import SgError
from tests.caption.hosted.builder import batch_settings, caption, data_folder, settings
from tests.caption.hosted.fake_gemini.batch_forms import FILES, OPERATIONS
from tests.caption.hosted.fake_gemini.batches import LOST
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.forms import ANSWERS, ERRORS, USABLE
from tests.caption.hosted.fake_gemini.state import State
from tests.caption.hosted.test_run import ledger, states
from tests.caption.hosted.test_wire_forms import EXPECTED

IDS = [f"v{number}" for number in range(6)]
CREATE, LIST, GET = (
    "POST /v1beta/models/gemini-3.5-flash-lite:batchGenerateContent",
    "GET /v1beta/batches",
    "GET /v1beta/batches/*",
)
UPLOAD, PIECE, FILE = "POST /upload/v1beta/files", "POST /_upload/*", "GET /v1beta/files/*"


@pytest.mark.parametrize("form", [*OPERATIONS, *FILES])
def test_a_job_is_read_in_every_form(tmp_path: Path, state: State, url: str, form: str) -> None:
    state.settings.batch_form = form
    assert list(read_captions(caption(data_folder(tmp_path, IDS), batch_settings(url)))) == IDS
    again = 1 if form == "cut" else 0
    assert len(state.batches) == 1 + again and sum(state.paid.values()) == len(IDS) + again


@pytest.mark.parametrize("held", LOST)
def test_a_job_without_a_confirmation_is_looked_for_more_than_once(
    tmp_path: Path, state: State, url: str, held: str
) -> None:
    state.settings.held, state.settings.listed_after = held, 2
    assert list(read_captions(caption(data_folder(tmp_path, IDS), batch_settings(url)))) == IDS
    assert len(state.batches) == 1 and set(state.paid.values()) == {1}


@pytest.mark.parametrize(
    ("route", "faults"),
    [
        (CREATE, ["503", "500_html", "429_empty", "429_retry"]),
        (CREATE, ["429_storage"]),
        (UPLOAD, ["503", "429_html_as_json", "reset"]),
        (GET, ["503", "html", "truncated", "429_empty", "500_nested", "204_empty", "reset"]),
        (FILE, ["503_truncated", "reset_body", "429_html"]),
        (LIST, ["503"]),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "+".join(value[:2]),
)
def test_an_error_on_any_route_is_waited_for(
    tmp_path: Path, state: State, url: str, route: str, faults: list[str]
) -> None:
    state.settings.route_faults = {route: list(faults)}
    if route == LIST:
        state.settings.held = "create_reset"
    assert list(read_captions(caption(data_folder(tmp_path, IDS), batch_settings(url)))) == IDS
    assert not state.settings.route_faults[route]
    assert len(state.batches) == 1 and set(state.paid.values()) == {1}
    assert not state.files, "input files are deleted"


@pytest.mark.parametrize(
    ("route", "fault", "error", "match"),
    [
        (UPLOAD, "503", ServiceUnavailableError, "has failed to take a batch job 6 times.*same command later"),
        (CREATE, "500_html", ServiceUnavailableError, "has failed to take a batch job 6 times"),
        (CREATE, "400_media", ServiceRefusedError, "refuses the requests"),
        (CREATE, "400_tokens", ServiceRefusedError, "refuses the requests"),
        (CREATE, "429_day", QuotaExhaustedError, "daily quota is used up until"),
        (GET, "404", ServiceRefusedError, "cannot be read.*not sent again"),
        (FILE, "404", ServiceRefusedError, "cannot be read.*not sent again"),
        (GET, "huge", ServiceRefusedError, "cannot be read.*more than 33,554,432 bytes"),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "",
)
def test_an_outage_or_a_refusal_ends_the_run_with_its_reason(
    tmp_path: Path, state: State, url: str, route: str, fault: str, error: type[SgError], match: str
) -> None:
    state.settings.route_faults = {route: [fault] * 99}
    data, config = data_folder(tmp_path, IDS), batch_settings(url)
    config.quota = QuotaConfig(rpm=None, tpm=None, usd_per_10_min=None, on_daily_quota="stop")
    with pytest.raises(error, match=match):
        caption(data, config)
    assert set(states(data, config).values()) == {"submitted" if route in (GET, FILE) else "pending"}
    state.settings.route_faults = {}
    assert list(read_captions(caption(data, config))) == IDS
    assert set(state.paid.values()) == {1}


def test_lines_in_every_form_are_taken_for_what_they_are(tmp_path: Path, state: State, url: str) -> None:
    """Errors of the service go into the next job as they are; a usable line is taken from the first."""
    on_the_way = ("gzip_", "encoding_", "ok_gzip", "ok_bom")  # a line has none of that
    refused = ("40", "413", "422")
    names = [name for name in ERRORS | ANSWERS | USABLE if not name.startswith(on_the_way + refused)]
    state.settings.plan = FaultPlan({name: [name] for name in names})
    config = batch_settings(url)
    config.max_duplicates, config.on_model_drift = 99, "record"
    data = data_folder(tmp_path, names)
    blocked = {name for name in names if str(EXPECTED[name]) == "blocked"}
    assert list(read_captions(caption(data, config))) == [name for name in names if name not in blocked]
    for name in names:
        assert state.requests[name] == (1 if name in blocked or "ok_" in name else 2), name
    with ledger(data, config) as db:
        (usd,) = db.execute("SELECT SUM(cost_usd) FROM attempt").fetchone()
    assert usd < 0.002 * 2 * len(names)


def test_a_result_file_is_read_up_to_what_its_videos_can_need(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_results, "MAX_LINE_BYTES", 1_000)
    monkeypatch.setattr(job_results, "_BYTES_PER_LINE", 100)
    monkeypatch.setattr(job_results, "_BYTES_PER_TOKEN", 0)
    data, config = data_folder(tmp_path, IDS), batch_settings(url)
    with pytest.raises(ServiceRefusedError, match=r"cannot be read: .*more bytes than the answers of its videos"):
        caption(data, config)
    assert not list((tmp_path / "captions" / "gemini" / "batches").iterdir())
    monkeypatch.undo()
    monkeypatch.setenv("GEMINI_API_KEY", "loopback-key")
    assert list(read_captions(caption(data, config))) == IDS
    assert len(state.batches) == 1


def test_a_job_that_cannot_be_cancelled_is_not_sent_again(
    tmp_path: Path, state: State, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may still be answered, and paid for."""
    state.settings.batch_fault = "stuck"
    state.settings.route_faults = {"POST /v1beta/batches/*": ["503"] * 9999}
    data, config = data_folder(tmp_path, IDS), batch_settings(url, stall_hours=0.00005)
    with pytest.raises(ServiceRefusedError, match=r"it is PENDING and cannot be cancelled.*not sent again"):
        caption(data, config)
    assert len(state.batches) == 1
    state.settings.route_faults, state.settings.batch_fault = {}, ""
    assert list(read_captions(caption(data, config))) == IDS
    assert len(state.batches) == 1 and set(state.paid.values()) == {1}


@pytest.mark.parametrize(
    ("file_states", "uploads", "final"),
    [
        (
            [{"state": "PROCESSING"}, {"state": "STATE_UNSPECIFIED"}, {"state": "NEW_STATE", "sizeBytes": None}],
            1,
            "succeeded",
        ),
        ([{"state": None, "sizeBytes": "many"}], 1, "succeeded"),
        ([{"state": "FAILED", "error": {"code": 13, "message": "Internal error"}}], 2, "succeeded"),
        ([{"state": "FAILED", "error": {"code": 14}}] * 2, 3, "succeeded"),
        ([{"state": "FAILED", "error": None}], 1, "failed_permanent"),
        ([{"state": "FAILED", "error": {"code": 3, "message": "not a video"}}], 1, "failed_permanent"),
    ],
    ids=["processing", "null", "internal", "unavailable", "failed", "invalid"],
)
def test_the_states_of_a_file_are_waited_for_and_its_failure_is_the_video_s_or_the_service_s(
    tmp_path: Path, state: State, url: str, file_states: list[dict[str, object]], uploads: int, final: str
) -> None:
    state.settings.file_states, state.settings.polls_until_active = list(file_states), 2
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url, transport="upload", max_concurrency=1)
    caption(data, config)
    assert states(data, config) == {"a": final, "b": "succeeded"}
    assert state.routes["POST /upload/v1beta/files"] == uploads + 1
    assert not state.files, "a file that failed is deleted as well"


def test_what_a_run_waits_for_is_printed(
    tmp_path: Path, state: State, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    state.settings.route_faults = {CREATE: ["503"], GET: ["500_html"]}
    with caplog.at_level(logging.INFO):
        caption(data_folder(tmp_path, IDS), batch_settings(url))
    assert "was not confirmed (503 UNAVAILABLE" in caplog.text and "cannot be read now (500" in caplog.text
