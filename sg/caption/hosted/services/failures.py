"""The class of an error or an answer, for every client library."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from sg.caption.hosted.services import wire
from sg.caption.hosted.services.records import Answer, Failure, Kind
from sg.caption.hosted.services.secrets import REDACTION

MESSAGE_LENGTH = 300
_BLOCKED = frozenset(
    ["SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "CONTENT_FILTER"]
)
# Some encodings of the API write its enums as numbers.
_FINISH = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER", 6: "LANGUAGE", 7: "BLOCKLIST",
           8: "PROHIBITED_CONTENT", 9: "SPII", 10: "OTHER"}  # fmt: skip
_BLOCK = {1: "SAFETY", 2: "OTHER", 3: "BLOCKLIST", 4: "PROHIBITED_CONTENT", 5: "IMAGE_SAFETY"}
_MEDIA_WORDS = re.compile(
    r"unable to process|unsupported|corrupt|invalid (video|image|media)|could not (decode|process)|mime.?type"
    r"|token count|exceeds the maximum number of tokens|no (video|frames)|too (long|large)|duration"
    r"|context[ _](length|size|window)|maximum context|max_model_len|longer than",
    re.IGNORECASE,
)
_BUSY_WORDS = re.compile(r"overloaded|try again later|temporarily|at capacity", re.IGNORECASE)
_CONFIG_WORDS = re.compile(r"api.?key|api_key_invalid|billing|project|not found for api version", re.IGNORECASE)
_CAP_IDS = re.compile(r"tier_?cap|billing_?cap|spend(ing)?_?cap|monthly|insufficient_quota", re.IGNORECASE)
_CAP_WORDS = re.compile(
    r"spend(ing)? cap|credits? (are|is) depleted|insufficient_quota|\blimit: 0(?![\d.])", re.IGNORECASE
)
_RETRY_WORDS = re.compile(r"(?:retry|try again) in ((?:\d+(?:\.\d+)?(?:ms|[hms]))+)", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?|(\d+(?:\.\d+)?)ms")
_RPC = {
    1: ("CANCELLED", 499), 2: ("UNKNOWN", 500), 3: ("INVALID_ARGUMENT", 400), 4: ("DEADLINE_EXCEEDED", 504),
    5: ("NOT_FOUND", 404), 6: ("ALREADY_EXISTS", 409), 7: ("PERMISSION_DENIED", 403), 8: ("RESOURCE_EXHAUSTED", 429),
    9: ("FAILED_PRECONDITION", 400), 10: ("ABORTED", 409), 11: ("OUT_OF_RANGE", 400), 12: ("UNIMPLEMENTED", 501),
    13: ("INTERNAL", 500), 14: ("UNAVAILABLE", 503), 15: ("DATA_LOSS", 500), 16: ("UNAUTHENTICATED", 401),
}  # fmt: skip
"""Names of gRPC's codes, and the HTTP codes that mean the same."""
UNREACHABLE = "UNREACHABLE"
"""The status of a failure without a connection: the request never left, and costs nothing."""
_UNREACHABLE = ("ClientConnectorError", "ConnectionRefusedError")
_NETWORK_MODULES = ("aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "anyio", "ssl")


class RedirectError(Exception):
    """The service redirects a request to another address."""


class TooLargeError(Exception):
    """An answer has more bytes than one can need."""


def from_http(code: int, body: Any, *, used_file: bool = False, retry_after_s: float | None = None) -> Failure:
    """The failure of an HTTP error; `body` is the parsed error document, if there is one.

    `used_file`: the request referred to an uploaded file, so that 403 and 404 may mean that the file has expired.
    `retry_after_s`: the pause of a Retry-After header, for bodies that announce none.
    """
    body = wire.first(body) if isinstance(body, list) else body
    error = wire.mapping(body).get("error") or body
    error = error if isinstance(error, Mapping) else {"message": error if isinstance(error, str) else ""}
    status = wire.name(error.get("status"))
    message = _short(error.get("message") or error.get("detail") or f"HTTP {code}")
    quota_ids, announced, reasons = _details(wire.items(error.get("details")))
    # Relays put what Google sends as details into `type` and `code`.
    reasons += tuple(value for name in ("type", "code") if isinstance(value := error.get(name), str))
    if announced is None and (words := _RETRY_WORDS.search(message)):
        announced = seconds(words[1])
    kind = _kind(code, status, f"{message} {' '.join(reasons)}", quota_ids, used_file)
    return Failure(kind, message, code, status, quota_ids, retry_after_s if announced is None else announced)


def from_rpc(error: Any, *, used_file: bool = False) -> Failure:
    """The failure of an error inside a document: a line of a batch job, or an error with HTTP status 200.

    Its code is one of HTTP or of gRPC, or only its status has the name of one. An unknown code is an error of the
    service, which is retried.
    """
    values = wire.mapping(error)
    code, status = wire.count(values.get("code"), 599) or 0, wire.text(values.get("status"))
    by_name = dict(_RPC.values())
    name, http = _RPC.get(code, (status, code if code >= 400 else by_name.get(status, 500)))
    return from_http(http, {"error": {**values, "status": name} if values else error}, used_file=used_file)


def from_exception(error: BaseException) -> Failure:
    """The failure of an exception without an HTTP status: a network error, or a bug of ours or of the SDK."""
    name = type(error).__name__
    network = any(base.__module__.split(".")[0] in _NETWORK_MODULES for base in type(error).__mro__)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return Failure(Kind.TRANSIENT, f"{name}: no complete answer in time", 0, "TIMEOUT")
    if isinstance(error, RedirectError):
        return Failure(Kind.CONFIG, _short(error))
    if isinstance(error, TooLargeError):
        return Failure(Kind.ODD, _short(error), 0, "TOO_LARGE")
    if any(base.__name__ in _UNREACHABLE for base in type(error).__mro__):
        return Failure(Kind.TRANSIENT, f"{name}: {_short(error)}", 0, UNREACHABLE)
    if isinstance(error, (OSError, ValueError, KeyError)) or network:
        # ValueError and KeyError: the client library could not read the document.
        return Failure(Kind.TRANSIENT, f"{name}: {_short(error)}", 0, "NETWORK")
    return Failure(Kind.BUG, f"{name}: {_short(error)}")


def answer_kind(answer: Answer) -> Kind | None:
    """What is wrong with an answer; None if it ended normally and contains text."""
    if answer.block_reason:
        return Kind.BLOCKED
    reason = answer.finish_reason
    if not reason:
        # A text without a reason may be cut. Nothing at all is an error of the service.
        return Kind.ODD if answer.text.strip() else Kind.TRANSIENT
    if reason in _BLOCKED:
        return Kind.BLOCKED
    if reason == "MAX_TOKENS":
        return Kind.TRUNCATED
    if reason != "STOP" or not answer.text.strip():
        return Kind.ODD
    return None


def finish_reason(value: Any) -> str:
    """The name of a finish reason, which may be a number; empty if there is none."""
    return _enum_name(value, _FINISH)


def block_reason(value: Any) -> str:
    """The name of a block reason, which may be a number; empty if the prompt is not blocked."""
    return _enum_name(value, _BLOCK)


def _enum_name(value: Any, names: Mapping[int, str]) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return names.get(value, "OTHER") if value else ""
    name = wire.name(value).upper()
    return "" if name.endswith("_UNSPECIFIED") else name


def _kind(code: int, status: str, message: str, quota_ids: Sequence[str], used_file: bool) -> Kind:
    if code == 429:
        return _quota_kind(quota_ids, message)
    if code == 402:
        return Kind.TIER_CAP
    # Some servers and relays say with a 400 that they are busy. Below 400: a success without an answer, such as 204.
    is_busy = code == 400 and _BUSY_WORDS.search(message)
    if code in (408, 409, 425, 499) or code >= 500 or code < 400 or is_busy:
        return Kind.TRANSIENT
    if used_file and re.search(r"not in an active state", message, re.IGNORECASE):
        return Kind.LOST_FILE
    # The service answers 403 for a file that has expired, and 404 for one that was deleted. Without "models/" in the
    # message it is not the model that is missing.
    if code in (403, 404) and used_file and not re.search(r"models/", message):
        return Kind.LOST_FILE
    if code in (401, 403, 404, 405, 407) or status == "FAILED_PRECONDITION":
        return Kind.CONFIG
    # A 400 has the same code and status for a bad video and for a bad setting: only the words of its message differ.
    if code == 413 or _MEDIA_WORDS.search(message):
        return Kind.MEDIA
    return Kind.CONFIG if _CONFIG_WORDS.search(message) else Kind.UNCLEAR


def _quota_kind(quota_ids: Sequence[str], message: str) -> Kind:
    """The class of a 429. An unknown id is a limit of the rate: waiting costs nothing, and ending the run does.

    Ids of limits per minute contain "PaidTier" or "FreeTier", so "tier" alone does not mean a spending cap.
    """
    ids = " ".join(quota_ids).lower()
    if "storage" in ids:
        return Kind.STORAGE
    if "perday" in ids or "per_day" in ids:
        return Kind.QUOTA_DAY
    if _CAP_IDS.search(ids) or _CAP_WORDS.search(message):
        return Kind.TIER_CAP
    return Kind.QUOTA


def _details(details: Sequence[Any]) -> tuple[tuple[str, ...], float | None, tuple[str, ...]]:
    """Quota ids, the seconds of RetryInfo, and reasons, from the details of an error."""
    quota_ids: list[str] = []
    reasons: list[str] = []
    retry_after = None
    for detail in map(wire.mapping, details):
        quota_ids += [wire.text(wire.mapping(v).get("quotaId")) for v in wire.items(detail.get("violations"))]
        reasons += [reason] if (reason := wire.text(detail.get("reason"))) else []
        if (announced := seconds(detail.get("retryDelay"))) is not None:
            retry_after = announced
    return tuple(quota_ids), retry_after, tuple(reasons)


def seconds(value: Any) -> float | None:
    """A duration in seconds: `2.5s`, `6m0s`, `500ms`, `7`, or an object with `seconds`; None for anything else."""
    if isinstance(value, Mapping):
        value = value.get("seconds")
    match = _DURATION.fullmatch(str(value).strip())
    if match is None or not any(match.groups()):
        return None
    hours, minutes, rest, milliseconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + rest + milliseconds / 1000


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The pause in seconds that the header Retry-After asks for, as a number or as a date."""
    value = headers.get("Retry-After", "")
    if (number := seconds(value)) is not None:
        return number
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _short(value: Any) -> str:
    return REDACTION.clean(" ".join(str(value)[: 10 * MESSAGE_LENGTH].split()))[:MESSAGE_LENGTH]
