"""Faults by name, and plans that assign them to requests."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.caption.hosted.fake_gemini import answers
from tests.caption.hosted.fake_gemini.forms import FORMS
from tests.caption.hosted.fake_gemini.http import BREAKAGES, Response

INT64_MAX_SECONDS = "9223372036854775807s"
_MINUTE, _DAY = "GenerateRequestsPerMinutePerProjectPerModel", "GenerateRequestsPerDayPerProjectPerModel"

ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "400": (400, answers.error(400, "INVALID_ARGUMENT", "Invalid value at 'generation_config'.")),
    "400_media": (400, answers.error(400, "INVALID_ARGUMENT", "Unable to process input video: unsupported codec.")),
    "bad_key": (400, answers.bad_key()),
    "403": (403, answers.error(403, "PERMISSION_DENIED", "Your project has been denied access.")),
    "404": (404, answers.error(404, "NOT_FOUND", "models/x is not found for API version v1beta.")),
    "file_gone": (403, answers.error(403, "PERMISSION_DENIED", "You do not have permission to access the File.")),
    "429": (429, answers.quota_error(_MINUTE, None)),
    "429_retry": (429, answers.quota_error(_MINUTE, "0.2s")),
    "429_retry_2.5": (429, answers.quota_error(_MINUTE, "2.5s")),
    "429_absurd": (429, answers.quota_error(_MINUTE, INT64_MAX_SECONDS)),
    "429_day": (429, answers.quota_error(_DAY, "30s")),
    "429_minute_paid": (429, answers.quota_error("GenerateContentPaidTierInputTokensPerModelPerMinute", "0.2s")),
    "429_minute_free": (429, answers.quota_error("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "0.2s")),
    "429_unknown": (429, answers.quota_error("SomethingNewOfTier3", None)),
    "400_context": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    "429_storage": (429, answers.quota_error("file_storage_bytes", INT64_MAX_SECONDS)),
    "500": (500, answers.error(500, "INTERNAL", "An internal error has occurred.")),
    "503": (503, answers.error(503, "UNAVAILABLE", "The model is overloaded.")),
    "504": (504, answers.error(504, "DEADLINE_EXCEEDED", "Deadline expired.")),
}
ANSWERS: dict[str, dict[str, Any]] = {
    "blocked": {"text": None, "block": "PROHIBITED_CONTENT"},
    "max_tokens": {"text": "A man opens a", "finish": "MAX_TOKENS"},
    "max_tokens_empty": {"text": None, "finish": "MAX_TOKENS"},
    "recitation": {"text": None, "finish": "RECITATION"},
    "safety": {"text": None, "finish": "SAFETY"},
    "new_reason": {"text": None, "finish": "SOMETHING_NEW"},
    "no_candidates": {"text": None, "candidates": False},
    "refusal": {"text": "I'm sorry, but I cannot help with describing this video."},
}
_TEXT = "A woman in a red coat lifts a blue kettle."
_USAGE = {"promptTokenCount": 1250, "candidatesTokenCount": 12, "totalTokenCount": 1262}


def _poisoned(**values: Any) -> bytes:
    """A good answer with these values in it; lone surrogates become escapes."""
    candidate = {"content": {"parts": [{"text": _TEXT}]}, "finishReason": "STOP"}
    body = {"candidates": [candidate], "usageMetadata": _USAGE, "modelVersion": "gemini-3.5-flash-lite"}
    return json.dumps(body | values).encode()


def _candidate(**values: Any) -> list[Any]:
    return [{"content": {"parts": [{"text": _TEXT}]}, "finishReason": "STOP"} | values]


POISONED: dict[str, bytes] = {
    "surrogate": _poisoned(candidates=_candidate(content={"parts": [{"text": f"{_TEXT} \ud800"}]})),
    "surrogate_id": _poisoned(responseId="\udfff", modelVersion="gemini-3.5-flash-lite"),
    "null_candidate": _poisoned(candidates=[None]),
    "null_candidates": _poisoned(candidates=None),
    "object_candidates": _poisoned(candidates={"0": {}}),
    "null_content": _poisoned(candidates=_candidate(content=None)),
    "null_part": _poisoned(candidates=_candidate(content={"parts": [None, {"text": None}]})),
    "number_text": _poisoned(candidates=_candidate(content={"parts": [{"text": 7}]})),
    "list_reason": _poisoned(candidates=_candidate(finishReason=["STOP"])),
    "list_feedback": _poisoned(promptFeedback=[1], candidates=None),
    "list_usage": _poisoned(usageMetadata=[1]),
    "null_details": _poisoned(usageMetadata=_USAGE | {"promptTokensDetails": [None, {"tokenCount": None}]}),
    "array": b"[1, 2]",
    "nested": b"[" * 200_000 + b"]" * 200_000,
    "huge_number": _poisoned(usageMetadata=_USAGE | {"candidatesTokenCount": 10**30}),
    "error_200": b'{"error": {"code": 503, "message": "overloaded"}}',
}
"""Answers with status 200 that no client expects."""
BODIES = {"html": b"<html>Server error</html>", "empty": b""}
COMMON = ("429_retry", "429", "500", "503", "503_html", "504", "reset", "reset_body", "truncated", "html", "empty",
          "max_tokens", "max_tokens_empty", "recitation", "blocked", "slow")  # fmt: skip
"""Faults that public reports describe."""


@dataclass(slots=True)
class FaultPlan:
    """Which fault the n-th request for an item gets: scripted by item, else drawn with `rate`.

    A drawn fault hits the first `drawn_tries` requests of an item only, so every item can end.
    """

    script: dict[str, list[str]] = field(default_factory=dict)
    rate: float = 0.0
    kinds: tuple[str, ...] = COMMON
    drawn_tries: int = 2

    def fault(self, item: str, number: int) -> str:
        scripted = self.script.get(item) or self.script.get("*")
        if scripted is not None:
            return scripted[number] if number < len(scripted) else ""
        draw = random.Random(f"{item}/{number}")
        if number < self.drawn_tries and draw.random() < self.rate:
            return draw.choice(self.kinds)
        return ""


def faulty(name: str, item: str, model: str, prompt_tokens: int) -> Response:
    """The answer of a fault; answers that a service charges for count as such (`is_paid`)."""
    if name in FORMS:
        return FORMS[name](item, model)
    if name in ERRORS:
        code, body = ERRORS[name]
        return Response(code, answers.encoded(body))
    if name == "503_html":
        return Response(503, BODIES["html"], content_type="application/json")
    if name == "huge":
        return Response(200, b" " * 40_000_000 + POISONED["surrogate_id"])
    if name == "gzip_bomb":
        return Response(200, gzip.compress(b" " * 200_000_000), {"Content-Encoding": "gzip"})
    if name in POISONED:
        return Response(200, POISONED[name])
    if name in BODIES:
        return Response(200, BODIES[name], content_type="text/html" if name == "html" else "application/json")
    good = answers.encoded(answers.answer(answers.caption_text(item), model, prompt_tokens))
    if name in BREAKAGES:
        return Response(200, good, breakage=name)
    if name == "truncated":
        return Response(200, good[: len(good) // 2])
    if name == "slow":
        return Response(200, good, delay_s=0.5)
    if name == "wrong_model":
        return Response(200, answers.encoded(answers.answer(answers.caption_text(item), "other-model", prompt_tokens)))
    values = dict(ANSWERS[name])
    return Response(200, answers.encoded(answers.answer(values.pop("text"), model, prompt_tokens, **values)))


def good_answer_is_sent(name: str) -> bool:
    """Whether a client that reads to the end receives a complete caption."""
    return name in ("", "slow", "drip", "wrong_model") or "ok_" in name


def plan_from_json(text: str) -> FaultPlan:
    values = json.loads(text)
    kinds, tries = tuple(values.get("kinds", COMMON)), values.get("drawn_tries", 2)
    return FaultPlan(values.get("script", {}), values.get("rate", 0.0), kinds, tries)
