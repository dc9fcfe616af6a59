"""What ends a captioning run before its last video, and what the next run does then."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from sg.caption.hosted.engine.limits import (
    BudgetReachedError,
    CanaryError,
    ModelDriftError,
    QuotaExhaustedError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from sg.caption.hosted.run import recipe_of
from sg.caption.hosted.settings import QuotaConfig
from sg.caption.ledger import reading
from sg.caption.run import caption_videos
from sg.core.errors import ConfigError, DataError, MissingInputError
from tests.caption.hosted.builder import data_folder, settings
from tests.caption.hosted.fake_gemini.answers import caption_text
from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.state import State
from tests.caption.hosted.running import ledger, run, states


def test_a_refused_key_stops_the_run_at_once(tmp_path: Path, state: State, url: str) -> None:
    state.settings.key = "another"
    data, config = data_folder(tmp_path, [f"v{i}" for i in range(30)]), settings(url, max_concurrency=2)
    with pytest.raises(ServiceRefusedError, match="API key not valid"):
        run(data, config)
    assert set(states(data, config).values()) == {"pending"}


def test_the_budget_is_never_exceeded_and_a_larger_one_continues(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, [f"v{i}" for i in range(40)])
    config = settings(url, budget_usd=0.02)
    with pytest.raises(BudgetReachedError, match=r"budget of \$0\.02 is reached"):
        run(data, config)
    with ledger(data, config) as db:
        spent = reading.spent_usd(db)
    charged = sum(1250 * 0.30 + len(caption_text(item).split()) * 4 // 3 * 2.50 for item in state.paid) / 1e6
    assert charged == pytest.approx(spent), "as the service counts it"
    assert 0.018 < spent <= 0.02  # unused reserves of requests in flight are used as well
    assert BudgetReachedError.exit_code == 3
    assert set(run(data, settings(url, budget_usd=1.0)).values()) == {"succeeded"}
    assert state.summary()["second_paid"] == 0


def test_the_daily_quota_ends_the_run(tmp_path: Path, state: State, url: str) -> None:
    quota = QuotaConfig(rpm=None, tpm=None, rpd=10, usd_per_10_min=None, on_daily_quota="stop")
    data, config = data_folder(tmp_path, [f"v{i}" for i in range(20)]), settings(url, quota=quota)
    with pytest.raises(QuotaExhaustedError, match="used up until"):
        run(data, config)
    assert len(state.arrivals) == 9  # 0.9 of the quota
    with pytest.raises(QuotaExhaustedError):
        run(data, config)
    assert len(state.arrivals) == 9, "a new process counts the requests of the old one"


def test_an_answer_of_another_model_stops_the_run(tmp_path: Path, state: State, url: str) -> None:
    state.settings.answered_model = "gemini-3.5-flash"
    data = data_folder(tmp_path, [f"v{i}" for i in range(30)])
    with pytest.raises(ModelDriftError, match=r"gemini-3\.5-flash answered instead of gemini-3\.5-flash-lite"):
        run(data, settings(url, max_concurrency=2))
    assert len(state.arrivals) < 6
    rows = run(data, settings(url, on_model_drift="record"))
    assert set(rows.values()) == {"succeeded"}


def test_a_canary_without_captions_stops_the_run(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({f"v{i}": ["blocked"] for i in range(0, 30, 5)})
    data = data_folder(tmp_path, [f"v{i}" for i in range(30)])
    with pytest.raises(CanaryError, match="20% of the first 10 videos have no usable caption"):
        run(data, settings(url, canary=10, assumed_output_tokens=172))
    assert len(state.arrivals) == 10


def test_a_canary_with_another_cost_than_estimated_stops_the_run(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, [f"v{i}" for i in range(30)])
    with pytest.raises(CanaryError, match="assumed_output_tokens="):
        run(data, settings(url, canary=10, assumed_output_tokens=5000, generation={"max_output_tokens": 8000}))
    assert len(state.arrivals) == 10
    rows = run(data, settings(url, canary=10, assumed_output_tokens=172, generation={"max_output_tokens": 8000}))
    assert set(rows.values()) == {"succeeded"}


def test_ctrl_c_waits_for_the_requests_in_flight(tmp_path: Path, state: State, url: str) -> None:
    import signal

    state.settings.latency_s = 0.2
    data, config = data_folder(tmp_path, [f"v{i}" for i in range(300)]), settings(url)

    def interrupt() -> None:
        while len(state.arrivals) < 10:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(data, config)
    with ledger(data, config) as db:
        assert db.execute("SELECT COUNT(*) FROM attempt WHERE state!='done'").fetchone() == (0,)
        counts = reading.states(db, recipe_of(config).name)
    assert counts["succeeded"] == len(state.arrivals) and counts["pending"] == 300 - counts["succeeded"]


def test_a_missing_setting_is_an_error_before_any_request(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_folder(tmp_path, ["a"])
    with pytest.raises(ConfigError, match="i_have_rights=true"):
        run(data, settings(url, i_have_rights=False))
    with pytest.raises(ConfigError, match="budget_usd=DOLLARS"):
        run(data, settings(url, budget_usd=None, free_without_asking_usd=0.0001))
    with pytest.raises(MissingInputError, match=r"captioner=gemini buys them"):
        caption_videos(data, settings(url))
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
        run(data, settings(url))
    assert not state.arrivals


@pytest.mark.parametrize("fault", ["400", "400_context"])
def test_a_video_that_the_service_refuses_fails_alone(tmp_path: Path, state: State, url: str, fault: str) -> None:
    """It is the first one, so nothing shows yet that the settings are good."""
    state.settings.plan = FaultPlan({"a": [fault] * 9})
    data, config = data_folder(tmp_path, ["a", "b", "c"]), settings(url, max_concurrency=1)
    assert run(data, config) == {"a": "failed_permanent", "b": "succeeded", "c": "succeeded"}
    with ledger(data, config) as db:
        assert reading.last_error(db, recipe_of(config).name, "failed_permanent")
    before = state.requests["a"]
    assert run(data, config)["a"] == "failed_permanent" and state.requests["a"] == before


def test_videos_that_are_all_refused_alike_stop_the_run_and_the_next_one_passes_them(
    tmp_path: Path, state: State, url: str
) -> None:
    state.settings.plan = FaultPlan({"*": ["400"] * 9})
    data, config = data_folder(tmp_path, [f"v{i:02}" for i in range(40)]), settings(url, max_concurrency=1)
    with pytest.raises(ServiceRefusedError, match=r"refuses all of the first 10 requests.*Invalid value at"):
        run(data, config)
    assert sum(state.requests.values()) <= 22
    state.settings.plan = FaultPlan()
    assert set(run(data, settings(url, retry_states=["failed_permanent"])).values()) == {
        "failed_permanent",
        "succeeded",
    }
    assert set(run(data, settings(url, retry_states=["failed_permanent"])).values()) == {"succeeded"}


def test_a_set_of_which_every_video_is_refused_is_an_error(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"*": ["400"] * 9})
    with pytest.raises(DataError, match=r"No caption for any of the 2 videos: 2 failed permanent.*Invalid value"):
        run(data_folder(tmp_path, ["a", "b"]), settings(url))


@pytest.mark.parametrize("fault", ["503", "reset", "html", "truncated", "504"])
def test_an_outage_fails_no_video_for_good(tmp_path: Path, state: State, url: str, fault: str) -> None:
    state.settings.plan = FaultPlan({"*": [fault] * 99})
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url)
    with pytest.raises(ServiceUnavailableError, match=r"2 of 2 videos have no caption yet.*run the same command"):
        run(data, config)
    assert states(data, config) == {"a": "deferred", "b": "deferred"}
    assert ServiceUnavailableError.exit_code != 0
    state.settings.plan = FaultPlan()
    assert run(data, config) == {"a": "succeeded", "b": "succeeded"}
