"""The class of an error or an answer, for every client library."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sg.caption.hosted.services.records import Answer, Failure, Kind
from sg.caption.hosted.services.secrets import REDACTION

MESSAGE_LENGTH = 300
_BLOCKED = frozenset({"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "IMAGE_SAFETY", "CONTENT_FILTER"})
_MEDIA_WORDS = re.compile(
    r"unable to process|unsupported|corrupt|invalid (video|image|media)|could not (decode|process)|mime.?type"
    r"|token count|exceeds the maximum number of tokens|no (video|frames)|too (long|large)|duration",
    re.IGNORECASE,
)
_CONFIG_WORDS = re.compile(r"api.?key|api_key_invalid|billing|project|not found for api version", re.IGNORECASE)
_NETWORK_MODULES = ("aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "anyio", "ssl")


def from_http(code: int, body: Any, *, used_file: bool = False) -> Failure:
    """The failure of an HTTP error; `body` is the parsed error document, if there is one.

    `used_file`: the request referred to an uploaded file, so that 403 and 404 may mean that the file has expired.
    """
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    error = error if isinstance(error, Mapping) else {"message": str(error)}
    status, message = str(error.get("status") or ""), _short(error.get("message") or f"HTTP {code}")
    details = error.get("details")
    quota_ids, retry_after, reasons = _details(details if isinstance(details, Sequence) else ())
    kind = _kind(code, status, f"{message} {' '.join(reasons)}", quota_ids, used_file)
    return Failure(kind, message, code, status, quota_ids, retry_after)


def from_exception(error: BaseException) -> Failure:
    """The failure of an exception without an HTTP status: a network error, or a bug of ours or of the SDK."""
    name = type(error).__name__
    network = any(base.__module__.split(".")[0] in _NETWORK_MODULES for base in type(error).__mro__)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return Failure(Kind.TRANSIENT, f"{name}: no complete answer in time", 0, "TIMEOUT")
    if isinstance(error, (OSError, json.JSONDecodeError, UnicodeDecodeError)) or network:
        return Failure(Kind.TRANSIENT, f"{name}: {_short(error)}", 0, "NETWORK")
    return Failure(Kind.BUG, f"{name}: {_short(error)}")


def answer_kind(answer: Answer) -> Kind | None:
    """What is wrong with an answer; None if it ended normally and contains text."""
    if answer.block_reason:
        return Kind.BLOCKED
    reason = answer.finish_reason
    if not reason:
        return Kind.TRANSIENT
    if reason in _BLOCKED:
        return Kind.BLOCKED
    if reason == "MAX_TOKENS":
        return Kind.TRUNCATED
    if reason != "STOP" or not answer.text.strip():
        return Kind.ODD
    return None


def _kind(code: int, status: str, message: str, quota_ids: Sequence[str], used_file: bool) -> Kind:
    if code == 429:
        return _quota_kind(quota_ids, message)
    if code in (408, 409, 425, 499) or code >= 500:
        return Kind.TRANSIENT
    # The service answers 403 for a file that has expired, and 404 for one that was deleted. Without "models/" in the
    # message it is not the model that is missing.
    if code in (403, 404) and used_file and not re.search(r"models/", message):
        return Kind.LOST_FILE
    if code in (401, 403, 404) or status == "FAILED_PRECONDITION":
        return Kind.CONFIG
    # A 400 has the same code and status for a bad video and for a bad setting: only the words of its message differ.
    if code == 413 or _MEDIA_WORDS.search(message):
        return Kind.MEDIA
    return Kind.CONFIG if _CONFIG_WORDS.search(message) else Kind.UNCLEAR


def _quota_kind(quota_ids: Sequence[str], message: str) -> Kind:
    ids = " ".join(quota_ids).lower()
    if "storage" in ids:
        return Kind.STORAGE
    if "perday" in ids or "per_day" in ids:
        return Kind.QUOTA_DAY
    if re.search(r"tier|billing_cap|monthly|spend_cap", ids) or "spending cap" in message.lower():
        return Kind.TIER_CAP
    return Kind.QUOTA


def _details(details: Sequence[Any]) -> tuple[tuple[str, ...], float | None, tuple[str, ...]]:
    """Quota ids, the seconds of RetryInfo, and reasons, from the details of an error."""
    quota_ids: list[str] = []
    reasons: list[str] = []
    retry_after = None
    for detail in details:
        if not isinstance(detail, Mapping):
            continue
        quota_ids += [str(v.get("quotaId", "")) for v in detail.get("violations", ()) if isinstance(v, Mapping)]
        reasons += [str(detail["reason"])] if detail.get("reason") else []
        if "retryDelay" in detail:
            retry_after = seconds(detail["retryDelay"])
    return tuple(quota_ids), retry_after, tuple(reasons)


def seconds(text: Any) -> float | None:
    """`2.5s` as 2.5; None for anything that is not a duration."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)s?\s*", str(text))
    return float(match[1]) if match else None


def _short(value: Any) -> str:
    return REDACTION.clean(" ".join(str(value).split()))[:MESSAGE_LENGTH]
