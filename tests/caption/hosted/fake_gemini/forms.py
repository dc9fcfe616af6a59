"""Wire forms that real services, relays and load balancers send, by name.

Names that begin with `ok_` are complete captions in an unusual form: a client should take them at the first request.
Names that begin with `own_` are documents of servers with OpenAI's chat format.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.caption.hosted.fake_gemini import answers
from tests.caption.hosted.fake_gemini.http import Response

Form = Callable[[str, str], Response]
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
JSON_TYPE, HTML_TYPE = "application/json", "text/html; charset=utf-8"
PROMPT_TOKENS = 1250
KEY = "loopback-key"


def _raw(code: int, body: bytes, kind: str = JSON_TYPE, **headers: str) -> Form:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda item, model: Response(code, body, named, content_type=kind, as_is=True)


def _error(code: int, status: Any, message: Any, details: Any = None) -> Form:
    error = {"code": code, "message": message, "status": status, "details": details}
    return _raw(code, json.dumps({"error": error}).encode())


def _quota(*ids: Any, delay: Any = "0.05s", message: str = "You exceeded your current quota.") -> Form:
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": value} for value in ids]},
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "x", "url": "https://x"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    return _error(429, "RESOURCE_EXHAUSTED", message, details)


def good(item: str, model: str) -> dict[str, Any]:
    """A usual answer, to be changed."""
    return answers.answer(answers.caption_text(item), model, PROMPT_TOKENS)


def _changed(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Form:
    """A usual answer after `change(body, its candidate)`."""

    def form(item: str, model: str) -> Response:
        body = good(item, model)
        change(body, body["candidates"][0])
        return Response(200, answers.encoded(body))

    return form


def _with(**values: Any) -> Form:
    return _changed(lambda body, candidate: body.update(values))


def _candidate(**values: Any) -> Form:
    return _changed(lambda body, candidate: candidate.update(values))


def _without(*names: str) -> Form:
    return _changed(lambda body, candidate: [holder.pop(name, 0) for name in names for holder in (body, candidate)])


def _usage(**values: Any) -> Form:
    return _changed(lambda body, candidate: body["usageMetadata"].update(values))


def _parts(*around: Any) -> Form:
    """The parts before and after the one with the caption, which is marked by `...`."""

    def change(body: dict[str, Any], candidate: dict[str, Any]) -> None:
        (part,) = candidate["content"]["parts"]
        candidate["content"]["parts"] = [part if other is ... else other for other in around]

    return _changed(change)


def _sent(pack: Callable[[bytes], bytes], kind: str = JSON_TYPE, **headers: str) -> Form:
    """A usual answer whose bytes are changed on the way."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda item, model: Response(200, pack(answers.encoded(good(item, model))), named, content_type=kind)


def _echo(body: dict[str, Any], candidate: dict[str, Any]) -> None:
    """A relay that echoes the headers of the caller."""
    part = candidate["content"]["parts"][0]
    part["text"] = part["text"].replace(" in the ", f" in the {KEY} ", 1)
    body.update(responseId=KEY, modelVersion="gemini-3.5-flash-lite")


def _own(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Form:
    """An answer in OpenAI's chat format after `change(body, its choice)`."""

    def form(item: str, model: str) -> Response:
        choice = {"index": 0, "message": {"role": "assistant", "content": answers.caption_text(item)}}
        choice["finish_reason"] = "stop"
        usage = {"prompt_tokens": 1250, "completion_tokens": 150, "total_tokens": 1400}
        body = {"id": "c1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
        change(body, choice)
        return Response(200, answers.encoded(body), as_is=True)

    return form


def _own_error(code: int, body: Any, kind: str = JSON_TYPE, **headers: str) -> Form:
    return _raw(code, body if isinstance(body, bytes) else json.dumps(body).encode(), kind, **headers)


ERRORS: dict[str, Form] = {
    "429_ids": _quota(
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "GenerateContentPaidTierInputTokensPerModelPerMinute"
    ),
    "429_tier_2": _quota("GenerateContentInputTokensPerModelPerMinute-PaidTier2"),
    "429_null_id": _quota(None, 7, {}),
    "429_ten_minutes": _quota("SpendPerTenMinutesPerProject-Tier1"),
    "429_new_id": _quota("DynamicSharedQuotaBurstWindow"),
    "429_object_delay": _quota("x", delay={"seconds": "0", "nanos": 50_000_000}),
    "429_word_delay": _quota("x", delay="soon"),
    "429_null_details": _error(429, None, None, None),
    "429_object_details": _error(429, "RESOURCE_EXHAUSTED", "x", {"retryDelay": "1s"}),
    "429_empty": _raw(429, b""),
    "429_empty_text": _raw(429, b"", "text/plain"),
    "429_html": _raw(429, HTML, HTML_TYPE),
    "429_html_as_json": _raw(429, HTML),
    "429_text": _raw(429, b"Too Many Requests", "text/plain"),
    "429_truncated": _raw(429, b'{"error": {"code": 429, "mess'),
    "429_latin": _raw(429, b'{"error": {"message": "d\xe9bit"}}'),
    "429_list": _raw(429, b'[{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}]'),
    "429_string": _raw(429, b'{"error": "rate limited"}'),
    "429_retry_after": _raw(429, b"", Retry_After="1"),
    "429_nested": _raw(429, b"[" * 200_000),
    "400_generic": _error(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "400_empty": _raw(400, b""),
    "400_tokens": _error(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "400_frames": _error(400, "INVALID_ARGUMENT", "Unable to process input image or video: no frames."),
    "413_html": _raw(413, HTML, HTML_TYPE),
    "422_list": _raw(422, b'{"detail": [{"loc": ["body"], "msg": "field required", "type": "x"}]}'),
    "500_html": _raw(500, HTML, HTML_TYPE),
    "500_html_as_json": _raw(500, HTML),
    "500_empty": _raw(500, b""),
    "500_nested": _raw(500, b"[" * 200_000),
    "500_null": _raw(500, b"null"),
    "500_number": _raw(500, b'{"error": {"code": "x", "message": 7, "status": [], "details": [null, 3]}}'),
    "500_long": _error(500, "S" * 5_000_000, "M" * 5_000_000),
    "502_html": _raw(502, HTML, HTML_TYPE),
    "503_truncated": _raw(503, b'{"error": {"code": 503'),
    "504_text": _raw(504, b"upstream request timeout", "text/plain"),
    "520_html": _raw(520, HTML, HTML_TYPE),
    "529_overloaded": _raw(529, b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'),
    "408_empty": _raw(408, b""),
    "409_aborted": _error(409, "ABORTED", "x"),
    "499_cancelled": _error(499, "CANCELLED", "The operation was cancelled."),
    "204_empty": _raw(204, b""),
    "202_queued": _raw(202, b'{"queued": true}'),
    "200_html": _raw(200, HTML, HTML_TYPE),
    "200_null": _raw(200, b"null"),
    "200_text": _raw(200, b'"busy"'),
    "200_error_null_code": _raw(200, b'{"error": {"code": null, "message": "overloaded", "status": "UNAVAILABLE"}}'),
    "200_error_list": _raw(200, b'{"error": ["overloaded"]}'),
    "200_events": _raw(200, b'data: {"candidates": []}\n\ndata: [DONE]\n\n', "text/event-stream"),
    "gzip_damaged": _sent(lambda data: gzip.compress(data)[:40] + b"\0" * 40, Content_Encoding="gzip"),
    "gzip_not": _sent(lambda data: data, Content_Encoding="gzip"),
    "encoding_unknown": _sent(lambda data: data, Content_Encoding="br"),
}
ANSWERS: dict[str, Form] = {
    "candidates_empty": _with(candidates=[]),
    "candidates_null_only": _with(candidates=[None]),
    "candidates_missing": _without("candidates"),
    "content_null": _candidate(content=None),
    "content_missing": _without("content"),
    "parts_missing": _candidate(content={"role": "model"}),
    "parts_empty": _candidate(content={"parts": []}),
    "parts_null": _candidate(content={"parts": None}),
    "parts_only_thought": _candidate(content={"parts": [{"text": "Let me look.", "thought": True}]}),
    "parts_no_text": _candidate(content={"parts": [{"functionCall": {"name": "x"}}, {"inlineData": {}}]}),
    "text_blank": _candidate(content={"parts": [{"text": " \n\t"}]}),
    "text_list": _candidate(content={"parts": [{"text": ["A woman."]}]}),
    "text_of_megabytes": _candidate(content={"parts": [{"text": "A woman lifts a kettle. " * 400_000}]}),
    "text_nul": _candidate(content={"parts": [{"text": "A woman\0 lifts\x1b[31m a kettle."}]}),
    "text_surrogate": _candidate(content={"parts": [{"text": "A woman lifts \ud83d a kettle."}]}),
    "finish_new": _candidate(finishReason="MALFORMED_RESPONSE"),
    "finish_list": _candidate(finishReason=["STOP"]),
    "finish_other": _candidate(finishReason="OTHER"),
    "finish_language": _candidate(finishReason="LANGUAGE"),
    "finish_null": _candidate(finishReason=None),
    "finish_missing": _without("finishReason"),
    "finish_safety_partial": _candidate(finishReason="SAFETY", safetyRatings=[{"blocked": True}, None]),
    "finish_image": _candidate(finishReason="IMAGE_PROHIBITED_CONTENT"),
    "block_new": _with(candidates=None, promptFeedback={"blockReason": "SOMETHING_NEW"}),
    "block_number": _with(candidates=None, promptFeedback={"blockReason": 4}),
    "block_safety": _with(candidates=[], promptFeedback={"blockReason": "SAFETY", "safetyRatings": None}),
    "feedback_null": _with(candidates=None, promptFeedback=None),
}
USABLE: dict[str, Form] = {
    "ok_extra": _changed(
        lambda body, candidate: (body.update(x=[1], y=None), candidate.update(z={"a": 1}, avgLogprobs="NaN"))
    ),
    "ok_echo": _changed(_echo),
    "ok_null_fields": _with(promptFeedback=None, responseId=None, modelVersion=None, createTime=None),
    "ok_feedback_unspecified": _with(promptFeedback={"blockReason": "BLOCK_REASON_UNSPECIFIED", "safetyRatings": []}),
    "ok_feedback_zero": _with(promptFeedback={"blockReason": 0}),
    "ok_feedback_empty": _with(promptFeedback={"blockReason": ""}),
    "ok_finish_number": _candidate(finishReason=1),
    "ok_finish_lower": _candidate(finishReason="stop"),
    "ok_null_first": _changed(lambda body, candidate: body.update(candidates=[None, candidate])),
    "ok_two": _changed(lambda body, candidate: body.update(candidates=[candidate, None, {"finishReason": "OTHER"}])),
    "ok_thought": _parts({"text": "I look at it.", "thought": True, "thoughtSignature": "x"}, ...),
    "ok_signature": _parts(..., {"thoughtSignature": "abc", "text": ""}, {"text": None}, None),
    "ok_ratings": _candidate(
        safetyRatings=[None, {"category": "NEW", "probability": "UNKNOWN_LEVEL"}], citationMetadata=None
    ),
    "ok_error_null": _with(error=None),
    "ok_bom": _sent(lambda data: b"\xef\xbb\xbf" + data),
    "ok_gzip": _sent(gzip.compress, Content_Encoding="gzip"),
    "ok_html_label": _sent(lambda data: data, "text/html"),
    "ok_octets": _sent(lambda data: data, "application/octet-stream"),
    "ok_charset": _sent(lambda data: data, "application/json; charset=nonsense"),
    "ok_utf16_label": _sent(lambda data: data, "application/json; charset=utf-16"),
    "ok_latin_label": _sent(
        lambda data: data.replace(b" in the ", " in the café ".encode()), "application/json; charset=iso-8859-1"
    ),
    "ok_blanks": _sent(lambda data: b"\r\n\r\n  " + data + b"\n\n"),
    "ok_version": _with(modelVersion="models/gemini-3.5-flash-lite-001"),
    "ok_version_list": _with(modelVersion=["x"], responseId={"a": 1}),
    "ok_usage_missing": _without("usageMetadata"),
    "ok_usage_null": _with(usageMetadata=None),
    "ok_usage_text": _usage(promptTokenCount="1250", candidatesTokenCount="150"),
    "ok_usage_millions": _usage(promptTokenCount=3_900_000, candidatesTokenCount=3_900_000, totalTokenCount=7_800_000),
    "ok_usage_output": _usage(candidatesTokenCount=1_000_000),
    "ok_usage_thinking": _usage(thoughtsTokenCount=4_000_000),
    "ok_usage_negative": _usage(promptTokenCount=-1_000_000_000, candidatesTokenCount=-5),
    "ok_usage_zero": _usage(promptTokenCount=0, candidatesTokenCount=0, totalTokenCount=0),
    "ok_usage_default": _with(usageMetadata={"totalTokenCount": 0}),
    "ok_usage_nan": _usage(promptTokenCount=float("nan"), candidatesTokenCount=float("inf")),
    "ok_long_names": _with(modelVersion="gemini-3.5-flash-lite", responseId="r" * 3_000_000),
}


def _thinking(thought: str) -> Callable[[Any, Any], None]:
    return lambda body, choice: choice["message"].update(content=thought + choice["message"]["content"])


_LONG = "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens in the messages."
OWN: dict[str, Form] = {
    "own_ok_plain": _own(lambda body, choice: None),
    "own_ok_parts": _own(
        lambda body, choice: choice["message"].update(
            content=[{"type": "text", "text": choice["message"]["content"]}, None]
        )
    ),
    "own_ok_nulls": _own(
        lambda body, choice: (body.update(usage=None, id=None, model=None), choice.update(logprobs=None, index=None))
    ),
    "own_ok_eos": _own(lambda body, choice: choice.update(finish_reason="eos_token")),
    "own_ok_upper": _own(lambda body, choice: choice.update(finish_reason="STOP")),
    "own_ok_null_first": _own(lambda body, choice: body.update(choices=[None, choice])),
    "own_ok_error_null": _own(lambda body, choice: body.update(error=None)),
    "own_ok_millions": _own(
        lambda body, choice: body.update(usage={"prompt_tokens": 4_000_000, "completion_tokens": 4_000_000})
    ),
    "own_ok_thought": _own(_thinking("<think>Red, or blue?</think>\n\n")),
    "own_ok_thought_end": _own(_thinking("Red, or blue?\n</think>\n")),
    "own_ok_201": lambda item, model: replace(_own(lambda body, choice: None)(item, model), status=201),
    "own_thought_open": _own(lambda body, choice: choice["message"].update(content="<think>Red, or blue?")),
    "own_choices_null": _own(lambda body, choice: body.update(choices=None)),
    "own_choices_empty": _own(lambda body, choice: body.update(choices=[])),
    "own_content_null": _own(lambda body, choice: choice["message"].update(content=None, reasoning_content="Hm.")),
    "own_message_null": _own(lambda body, choice: choice.update(message=None)),
    "own_finish_null": _own(lambda body, choice: choice.update(finish_reason=None)),
    "own_finish_new": _own(lambda body, choice: choice.update(finish_reason="abort")),
    "own_length": _own(lambda body, choice: choice.update(finish_reason="length")),
    "own_filter": _own(lambda body, choice: choice.update(finish_reason="content_filter")),
    "own_choice_error": _own(
        lambda body, choice: choice.update(
            message=None, finish_reason="error", error={"code": 502, "message": "Provider down"}
        )
    ),
    "own_400_context": _own_error(400, {"object": "error", "message": _LONG, "type": "BadRequestError", "code": 400}),
    "own_400_context_new": _own_error(
        400, {"error": {"message": _LONG, "type": "BadRequestError", "param": None, "code": 400}}
    ),
    "own_400_context_code": _own_error(400, {"error": {"message": "too much", "code": "context_length_exceeded"}}),
    "own_400_llama": _own_error(
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
            }
        },
    ),
    "own_400_detail": _own_error(
        400, {"detail": "Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens)."}
    ),
    "own_400_busy": _own_error(400, {"error": {"message": "The engine is overloaded, please try again later"}}),
    "own_400_text": _own_error(400, b"bad request", "text/plain"),
    "own_422_tgi": _own_error(422, {"error": "Input validation error", "error_type": "validation"}),
    "own_429_text": _own_error(429, b"slow down", "text/plain", Retry_After="0"),
    "own_429_date": _own_error(429, b"", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "own_429_words": _own_error(
        429,
        {
            "error": {
                "message": "Rate limit reached. Please try again in 50ms.",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
    ),
    "own_500_latin": _own_error(500, b"\xff\xfe\xe9", "text/plain; charset=utf-8"),
    "own_500_nested": _own_error(500, b"[" * 200_000),
    "own_502_html": _own_error(502, HTML, HTML_TYPE),
    "own_503_loading": _own_error(
        503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    ),
    "own_200_nested": _own_error(200, b"[" * 200_000 + b"]" * 200_000),
    "own_200_html": _own_error(200, HTML, HTML_TYPE),
    "own_200_empty": _own_error(200, b""),
    "own_200_error": _own_error(200, {"error": {"message": "CUDA out of memory", "code": 500}}),
    "own_200_events": _own_error(200, b'data: {"choices": []}\n\n', "text/event-stream"),
}
FORMS: dict[str, Form] = ERRORS | ANSWERS | USABLE | OWN
