"""Limits hold in every window as the service counts it, and are used to more than 95 %."""

import asyncio
import datetime
import random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.caption.hosted.engine.limits import Budget, DailyQuota
from sg.caption.hosted.engine.pacing import CircuitBreaker, Concurrency, Pacer, Window
from sg.caption.hosted.engine.retries import decide
from sg.caption.hosted.services.failures import from_http, seconds
from sg.caption.hosted.services.records import Kind
from sg.caption.hosted.settings import QuotaConfig, RetryConfig
from sg.caption.ledger.ledger import Task
from sg.caption.ledger.reading import pacific_midnight
from tests.caption.hosted.fake_gemini.state import busiest_window


@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), min_size=1, max_size=200),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_no_window_exceeds_the_limit_whatever_the_delays(
    limit: int, asked: list[tuple[float, float]], seed: int
) -> None:
    draw, window, now = random.Random(seed), Window("requests", limit, 60.0, edge_s=1.5), 0.0
    arrivals: list[tuple[float, int]] = []
    for pause, _ in asked:
        now += pause
        while (wait := window.wait_s(1, now)) > 0:
            now += wait
        window.count(1, now)
        arrivals.append((now + draw.uniform(0, 1.5), 1))  # a request arrives up to the edge later than it leaves
    assert busiest_window(sorted(arrivals), 60.0)[0] <= limit


@pytest.mark.parametrize("limit", [60, 1000, 4000])
def test_a_limit_is_used_to_more_than_95_percent(limit: int) -> None:
    window, now, sent = Window("requests", limit, 60.0), 0.0, []
    while now < 600:
        if (wait := window.wait_s(1, now)) > 0:
            now += wait
            continue
        window.count(1, now)
        sent.append((now, 1))
    assert busiest_window(sent, 60.0)[0] <= limit
    assert len(sent) / 10 >= 0.95 * limit


def test_tokens_are_corrected_when_the_actual_number_is_known() -> None:
    window = Window("tokens", 1000, 60.0)
    entry = window.count(900, 0.0)
    assert window.wait_s(200, 30.0) > 0
    window.correct(entry, 300)
    assert window.wait_s(200, 30.0) == 0


def test_requests_of_an_earlier_process_count() -> None:
    async def waits() -> float:
        pacer = Pacer(rpm=2, tpm=None, usd_per_10_min=None)
        pacer.remember(30.0, 10, 0.0)
        pacer.remember(10.0, 10, 0.0)
        return pacer._wait(10, 0.0)[0]

    assert 32.0 <= asyncio.run(waits()) <= 33.1


def test_a_long_wait_is_reported_with_its_reason_and_end() -> None:
    said: list[str] = []

    async def go() -> None:
        pacer = Pacer(rpm=None, tpm=None, usd_per_10_min=1.0, say=said.append)
        await pacer.leave(1, 1.0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pacer.leave(1, 1.0), 0.05)

    asyncio.run(go())
    assert "for the spend limit of 10 minutes" in said[0] and "waiting until" in said[0]


def test_concurrency_grows_with_successes_and_shrinks_once_per_round_trip() -> None:
    async def go() -> tuple[float, float]:
        gate = Concurrency(1, 64, start=8)
        for _ in range(200):
            await gate.enter()
            await gate.leave(good=True, overloaded=False, took_s=0.1)
        grown = gate.limit
        for _ in range(10):
            await gate.enter()
            await gate.leave(good=False, overloaded=True, took_s=60)
        return grown, gate.limit

    grown, shrunk = asyncio.run(go())
    assert 15 <= grown <= 25
    assert shrunk == pytest.approx(grown * 0.7)


def test_the_breaker_opens_when_most_answers_are_errors_and_lets_one_try_first() -> None:
    async def go() -> None:
        breaker = CircuitBreaker(pause_s=0.05)
        pauses = [breaker.note(number % 2 == 0 and number < 40) for number in range(50)]
        assert pauses[-1] == 0.05 and not any(pauses[:-1])
        await asyncio.wait_for(breaker.enter(), 5)
        assert breaker.note(True) == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 11, 1), 25), ((2027, 3, 14), 23), ((2026, 11, 22), 24)], ids=["fall", "spring", "plain"]
)
def test_the_provider_s_day_ends_at_midnight_in_california(day: tuple[int, int, int], hours: int) -> None:
    noon = datetime.datetime(*day, 12, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp()
    assert pacific_midnight(noon, 1) - pacific_midnight(noon) == hours * 3600


def test_the_daily_quota_is_free_again_at_midnight() -> None:
    clock = [datetime.datetime(2026, 11, 1, 12, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp()]
    quota = DailyQuota(QuotaConfig(rpd=10, safety_factor=1.0), lambda since: 9, lambda: clock[0])
    assert quota.free_at() == 0
    quota.count()
    assert quota.free_at() == clock[0] + 12 * 3600
    clock[0] = quota.free_at() + 1
    assert quota.free_at() == 0
    quota.suspend()
    assert quota.free_at() > clock[0]


def test_a_budget_counts_the_requests_in_flight() -> None:
    budget = Budget(1.0, 0.5)
    assert budget.reserve(0.4) and not budget.reserve(0.2)
    budget.settle(0.4, 0.1)
    assert budget.spent_usd == pytest.approx(0.6) and budget.reserve(0.39)


def test_a_budget_waits_for_the_requests_in_flight_before_it_refuses() -> None:
    async def spend() -> tuple[bool, bool]:
        budget = Budget(1.0, 0.0)
        assert await budget.reserve_when_free(0.8)
        waiting = asyncio.create_task(budget.reserve_when_free(0.5))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.settle(0.8, 0.3)
        first = await waiting
        budget.settle(0.5, 0.5)
        return first, await budget.reserve_when_free(0.3)

    assert asyncio.run(spend()) == (True, False)


@pytest.mark.parametrize(
    ("code", "error", "kind"),
    [
        (429, {"details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}]}, Kind.QUOTA_DAY),
        (429, {"details": [{"violations": [{"quotaId": "MonthlySpendTierCap"}]}]}, Kind.TIER_CAP),
        (429, {"message": "slow down"}, Kind.QUOTA),
        (400, {"message": "The input token count exceeds the maximum number of tokens allowed"}, Kind.MEDIA),
        (400, {"message": "bad", "details": [{"reason": "API_KEY_INVALID"}]}, Kind.CONFIG),
        (400, {"message": "Invalid value"}, Kind.UNCLEAR),
        (413, {}, Kind.MEDIA),
        (401, {}, Kind.CONFIG),
        (502, "<html>", Kind.TRANSIENT),
    ],
)
def test_an_error_is_classified(code: int, error: object, kind: Kind) -> None:
    assert from_http(code, {"error": error}).kind is kind


@given(st.sampled_from(list(Kind)), st.integers(0, 9), st.floats(0, 1e19))
def test_every_class_ends_after_finitely_many_tries_and_no_pause_is_above_the_cap(
    kind: Kind, streak: int, announced: float
) -> None:
    config, task, draw = RetryConfig(), Task("k", "i", "v", 0), random.Random(0)
    for _ in range(config.max_shed + 40):
        made = decide(kind, task, config, now=0.0, retry_after_s=announced, streak=streak, draw=draw)
        assert made.delay_s <= config.max_wait_s * 1.1 and made.pause_s <= config.max_wait_s * 1.1
        if made.state != "pending" or made.stop or made.suspend or kind in (Kind.QUOTA, Kind.STORAGE):
            return
        task = Task("k", "i", "v", 0, made.attempts, made.tries or {})
    raise AssertionError(f"{kind} is tried forever")


def test_durations_of_the_service_are_read() -> None:
    assert (seconds("2.5s"), seconds("9223372036854775807s"), seconds("soon")) == (2.5, 9223372036854775807.0, None)
