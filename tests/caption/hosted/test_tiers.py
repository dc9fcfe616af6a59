"""The tiers of a service: what is sent, what is charged, and that a request that was shed is asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.services.gemini import TIER_HEADER
from sg.caption.hosted.settings import RetryConfig
from sg.caption.ledger import reading
from sg.core.errors import SgError
from tests.caption.hosted.builder import batch_settings, caption, data_folder, settings
from tests.caption.hosted.fake_gemini import answers, forms
from tests.caption.hosted.fake_gemini.faults import FORMS, FaultPlan
from tests.caption.hosted.fake_gemini.http import Response
from tests.caption.hosted.fake_gemini.state import State


@pytest.mark.parametrize(("tier", "sent"), [("standard", None), ("flex", "flex"), ("priority", "priority")])
def test_the_tier_is_sent_at_the_top_level_of_a_request(
    tmp_path: Path, state: State, url: str, tier: str, sent: str | None
) -> None:
    caption(data_folder(tmp_path, ["a"]), settings(url, tier=tier))
    (body,) = state.bodies
    assert body.get("serviceTier") == sent
    assert "serviceTier" not in body["generationConfig"]


def test_a_batch_job_names_no_tier_and_costs_half(tmp_path: Path, state: State, url: str) -> None:
    data = data_folder(tmp_path, ["a"])
    caption(data, batch_settings(url))
    assert "serviceTier" not in str(state) and not state.bodies
    other = data_folder(tmp_path / "single", ["a"])
    caption(other, settings(url))
    spent = []
    for folder in (data, other):
        with reading.open_for_reading(ledger_path(folder, settings(url))) as db:
            spent.append(reading.spent_usd(db))
    assert 0 < 2 * spent[0] == pytest.approx(spent[1])


def test_flex_with_three_in_ten_requests_shed_finishes(tmp_path: Path, state: State, url: str) -> None:
    """Also one video that is shed twenty times, which would be more than all attempts of another tier."""
    ids = [f"clip{number:03d}" for number in range(100)]
    state.settings.plan = FaultPlan({"clip000": ["503"] * 20}, rate=0.3, kinds=("503",), drawn_tries=99)
    data, config = data_folder(tmp_path, ids), settings(url, tier="flex", retry=RetryConfig(20, 6, 30, 0.01, 0.02))
    caption(data, config)
    assert dict(state.paid) == dict.fromkeys(ids, 1)
    with reading.open_for_reading(ledger_path(data, config)) as db:
        assert reading.states(db, recipe_of(config).name) == {"succeeded": 100}
        assert reading.errors(db)["shed"] > 40
        # Shedding opened no circuit breaker, and counted as no attempt.
        assert db.execute("SELECT MAX(attempts) FROM task").fetchone() == (0,)


def test_a_request_that_is_always_shed_is_left_for_the_next_run(tmp_path: Path, state: State, url: str) -> None:
    state.settings.plan = FaultPlan({"a": ["503"] * 30})
    retry = RetryConfig(20, 2, 30, 0.001, 0.002, max_shed=5)
    with pytest.raises(SgError, match="of an error of the service"):
        caption(data_folder(tmp_path, ["a", "b"]), settings(url, tier="flex", retry=retry))
    assert state.requests["a"] == 5 + 2 and state.paid["b"] == 1


def test_a_request_of_flex_may_take_fifteen_minutes() -> None:
    assert settings("http://x", tier="flex").deadline_s == 900
    assert settings("http://x", tier="flex", retry=RetryConfig(deadline_s=1000)).deadline_s == 1000
    assert settings("http://x").deadline_s == 20


def test_a_request_that_was_served_in_a_lower_tier_costs_the_lower_price(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tier in ("standard", "priority"):
        monkeypatch.setitem(
            FORMS,
            f"ok_{tier}",
            lambda item, model, tier=tier: Response(
                200, answers.encoded(forms.good("same", model)), {TIER_HEADER: tier}
            ),
        )
    state.settings.plan = FaultPlan({"a": ["ok_standard"], "b": ["ok_priority"]})
    data, config = data_folder(tmp_path, ["a", "b"]), settings(url, tier="priority")
    caption(data, config)
    with reading.open_for_reading(ledger_path(data, config)) as db:
        query = "SELECT video_id, cost_usd FROM attempt JOIN task USING (task_key)"
        usd = dict(db.execute(query))
    assert usd["b"] == pytest.approx(1.8 * usd["a"])
