"""What real services send: quota ids, gRPC codes, nulls, missing and impossible numbers, documents of any shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sg.caption.hosted.services import openai_compatible
from sg.caption.hosted.services.failures import from_http, from_rpc
from sg.caption.hosted.services.gemini import answer_from_json
from sg.caption.hosted.services.records import Answer, Failure, Kind, Usage
from tests.caption.hosted.fake_gemini.answers import answer

CASES = Path(__file__).with_name("cases")
TEXT = "A woman in a red coat lifts a blue kettle."


@pytest.mark.parametrize("body", json.loads((CASES / "quota_429.json").read_text(encoding="utf-8")))
def test_a_limit_per_minute_is_a_rate_limit_whatever_tier_its_id_names(body: dict[str, Any]) -> None:
    failure = from_http(429, body)
    assert (failure.kind, failure.retry_after_s) == (Kind.QUOTA, 33.0)


@pytest.mark.parametrize(
    ("ids", "message", "kind"),
    [
        (["SomethingNewPerPaidTier3Window"], "", Kind.QUOTA),
        (["SpendPerTenMinutesPerProject-Tier1"], "", Kind.QUOTA),
        (["GenerateRequestsPerDayPerProjectPerModel-FreeTier"], "", Kind.QUOTA_DAY),
        (["GenerateRequestsPerMinute-FreeTier", "GenerateRequestsPerDay-FreeTier"], "", Kind.QUOTA_DAY),
        (["MonthlySpendTierCap"], "", Kind.TIER_CAP),
        ([], "Your project has exceeded its monthly spending cap.", Kind.TIER_CAP),
        ([], "Your prepayment credits are depleted.", Kind.TIER_CAP),
        ([None, 7], "slow down", Kind.QUOTA),
    ],
)
def test_only_a_spending_cap_is_a_spending_cap(ids: list[object], message: str, kind: Kind) -> None:
    details = [{"violations": [{"quotaId": value} for value in ids]}]
    assert from_http(429, {"error": {"message": message, "details": details}}).kind is kind


def test_a_pause_is_read_wherever_the_service_announces_it() -> None:
    message = "Quota exceeded. Please retry in 44.183920655s."
    assert from_http(429, {"error": {"message": message}}).retry_after_s == pytest.approx(44.18, abs=0.01)
    assert from_http(429, {"error": {"message": "x"}}, retry_after_s=7.0).retry_after_s == 7.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *(({"code": code, "message": "x"}, Kind.TRANSIENT) for code in (1, 2, 4, 6, 10, 13, 14, 15)),
        ({"code": "14"}, Kind.TRANSIENT),
        ({"code": 8, "message": "Resource has been exhausted (e.g. check quota)."}, Kind.QUOTA),
        ({"code": 3, "message": "bad"}, Kind.UNCLEAR),
        ({"code": 9}, Kind.CONFIG),
        ({"code": 16}, Kind.CONFIG),
        ({"status": "RESOURCE_EXHAUSTED"}, Kind.QUOTA),
        ({"status": "SOMETHING_NEW", "code": 99}, Kind.TRANSIENT),
        ({"code": 503}, Kind.TRANSIENT),
        ({"code": None, "message": None}, Kind.TRANSIENT),
        ("overloaded", Kind.TRANSIENT),
        (None, Kind.TRANSIENT),
    ],
)
def test_codes_of_grpc_are_those_of_http(error: object, kind: Kind) -> None:
    assert from_rpc(error).kind is kind


ODD = json.loads((CASES / "answers_odd.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "usage", "is_counted"),
    [
        ("null_usage", Usage(1250, 12), True),  # the rest of the total
        ("null_text", Usage(1250, 12), True),
        ("no_usage", Usage(), False),
    ],
)
def test_an_answer_with_nulls_keeps_its_text(name: str, usage: Usage, is_counted: bool) -> None:
    made = answer_from_json(ODD[name])
    assert isinstance(made, Answer)
    assert (made.text, made.usage, made.is_counted) == (TEXT, usage, is_counted)


@pytest.mark.parametrize("number", [-5, 10**12, 1e300, float("nan"), float("inf"), "many", True, [], {}, None])
def test_an_impossible_count_is_a_missing_one(number: object) -> None:
    body = answer(TEXT, "m", 1250)
    body["usageMetadata"] = {"promptTokenCount": number, "candidatesTokenCount": 12}
    made = answer_from_json(body)
    assert isinstance(made, Answer) and (made.text, made.usage.input, made.is_counted) == (TEXT, 0, False)
    own = {"choices": [{"message": {"content": TEXT}}], "usage": {"prompt_tokens": 9, "completion_tokens": number}}
    own_made = openai_compatible._answer(own)
    assert isinstance(own_made, Answer) and (own_made.usage.output, own_made.is_counted) == (0, False)


def variants(value: Any) -> list[Any]:
    """The document with each of its values in turn replaced by null, a number, a text, a list and an object."""
    others: list[Any] = [None, 7, -1.5, "x", True, [], [None], {}, {"x": [1]}]
    made = list(others)
    if isinstance(value, dict):
        for name, inner in value.items():
            made += [{**value, name: other} for other in variants(inner)]
            made += [{key: kept for key, kept in value.items() if key != name}, {**value, "extra": None}]
    if isinstance(value, list):
        for place, inner in enumerate(value):
            made += [[*value[:place], other, *value[place + 1 :]] for other in variants(inner)]
    return made


def test_no_shape_of_a_document_is_an_error_of_ours() -> None:
    own = {
        "id": "1", "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "choices": [{"message": {"content": [{"type": "text", "text": TEXT}]}, "finish_reason": "stop"}],
    }  # fmt: skip
    details = [{"violations": [{"quotaId": "x"}]}, {"retryDelay": "2.5s"}, {"reason": "R"}]
    error = {"error": {"code": 8, "message": "m", "status": "S", "details": details}}
    blocked = {**answer(TEXT, "m", 9, block="SAFETY"), "candidates": None}
    for body in [*variants(answer(TEXT, "m", 1250)), *variants(blocked)]:
        assert isinstance(answer_from_json(body), (Answer, Failure))
    for body in variants(own):
        assert isinstance(openai_compatible._answer(body), (Answer, Failure))
    for body in variants(error):
        assert isinstance(from_http(400, body), Failure)
        assert isinstance(from_rpc(body.get("error") if isinstance(body, dict) else body), Failure)


def test_an_error_with_status_200_is_an_error() -> None:
    for read in (answer_from_json, openai_compatible._answer):
        made = read({"error": {"code": 429, "message": "slow down"}})
        assert isinstance(made, Failure) and made.kind is Kind.QUOTA
        empty = read({})
        assert isinstance(empty, Failure) and empty.kind is Kind.TRANSIENT
