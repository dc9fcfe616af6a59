"""The state of the fake service: arrivals, paid answers, files, batch jobs."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.caption.hosted.fake_gemini.faults import FaultPlan
from tests.caption.hosted.fake_gemini.forms import KEY

_MARK = re.compile(rb"clip:([A-Za-z0-9_@%.+-]+);")
STORE_CAP = 20 * 2**30


@dataclass(slots=True)
class StoredFile:
    name: str
    mime_type: str
    display_name: str
    data: bytes
    polls: int = 0
    expired: bool = False
    failed: bool = False
    gone: bool = False
    declared_size: int = 0
    source: str = "UPLOADED"
    uri: str = ""

    @property
    def size(self) -> int:
        return max(len(self.data), self.declared_size)


@dataclass(slots=True)
class Batch:
    name: str
    model: str
    display_name: str
    lines: list[dict[str, Any]]
    polls: int = 0
    state: str = "BATCH_STATE_PENDING"
    result_file: str = ""
    inline: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Settings:
    """How the service behaves; tests change it while it runs."""

    key: str = KEY
    plan: FaultPlan = field(default_factory=FaultPlan)
    latency_s: float = 0.0
    max_per_s: float = 2000.0
    """The maximum number of answers per second, so that tests do not overload the machine."""
    polls_until_active: int = 1
    polls_until_done: int = 1
    batch_fault: str = ""
    """failed, expired, stuck, cancelled, missing, duplicate, foreign, inline, error_first, unreadable, no_results or
    gone: of the first job, or of all with `always_`."""
    batch_form: str = ""
    """A name of `batch_forms`: how operations, or result files, look on the wire."""
    listed_after: int = 0
    """The number of looks at the list of jobs that do not show them yet."""
    route_faults: dict[str, list[str]] = field(default_factory=dict)
    """By method and route, such as `GET /v1beta/batches/*`: the faults of its next requests."""
    file_states: list[dict[str, Any]] = field(default_factory=list)
    """What the next looks at a file return instead of its values."""
    held: str = ""
    """`upload` or `create`: the request is processed but never answered, so that a test can kill the process then; or a
    name of `batches.LOST`: of the next job."""
    store_cap: int = STORE_CAP
    answered_model: str = ""
    redirect: tuple[int, str] | None = None
    """Status and target with which every route answers."""


@dataclass(slots=True)
class State:
    settings: Settings = field(default_factory=Settings)
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    """When each generateContent request arrived (time.time) and its prompt tokens."""
    requests: Counter[str] = field(default_factory=Counter)
    """Requests by item."""
    paid: Counter[str] = field(default_factory=Counter)
    """Complete captions sent, by item."""
    routes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    files: dict[str, StoredFile] = field(default_factory=dict)
    uploads: dict[str, StoredFile] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    addresses: Counter[str] = field(default_factory=Counter)
    """How often each Cloud Storage object was registered, and each URL was read."""
    peak_bytes: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """The first bodies of generateContent, for tests of the wire format (without inline data)."""
    next_slot: float = 0.0

    def file_at(self, uri: str) -> StoredFile | None:
        """The file of a request, uploaded, registered, or at a public or signed URL, whose name is its item."""
        if uri.startswith("https://"):
            self.addresses[uri] += 1
            item = uri.partition("?")[0].rsplit("/", 1)[-1].partition(".")[0]
            return StoredFile("", "video/mp4", "", b"clip:%s;" % item.encode())
        registered = [file for file in self.files.values() if file.uri == uri]
        return registered[0] if registered else self.files.get("files/" + uri.rsplit("/", 1)[-1])

    def stored_bytes(self) -> int:
        live = [*self.files.values(), *self.uploads.values()]
        return sum(f.size for f in live if not f.gone and f.source == "UPLOADED")

    def slot_delay(self) -> float:
        """Seconds until the next answer may leave."""
        now = time.monotonic()
        self.next_slot = max(self.next_slot, now) + 1 / self.settings.max_per_s
        return max(self.next_slot - now - 0.05, 0.0)

    def summary(self) -> dict[str, Any]:
        return {
            "requests": sum(self.requests.values()),
            "items": len(self.requests),
            "paid": sum(self.paid.values()),
            "paid_items": len(self.paid),
            "second_paid": sum(count - 1 for count in self.paid.values()),
            "routes": dict(self.routes),
            "faults": dict(self.faults),
            "files": len(self.files),
            "peak_bytes": self.peak_bytes,
            "batches": len(self.batches),
            "busiest_minute": busiest_window(self.arrivals, 60.0),
        }


def busiest_window(arrivals: list[tuple[float, int]], seconds: float) -> tuple[int, int]:
    """The largest number of requests, and of tokens, in any window of this length."""
    start = tokens = most_requests = most_tokens = 0
    for end, (when, amount) in enumerate(arrivals):
        tokens += amount
        while arrivals[start][0] <= when - seconds:
            tokens -= arrivals[start][1]
            start += 1
        most_requests, most_tokens = max(most_requests, end - start + 1), max(most_tokens, tokens)
    return most_requests, most_tokens


def media_item(data: bytes) -> str:
    """The item of a file: its mark `clip:ID;`, else a hash of its bytes."""
    match = _MARK.search(data[:4096])
    return match[1].decode() if match else hashlib.md5(data).hexdigest()


def part_value(part: dict[str, Any], camel: str, snake: str) -> Any:
    return part.get(camel, part.get(snake))


def inline_bytes(blob: dict[str, Any]) -> bytes:
    return base64.b64decode(blob["data"].encode() if isinstance(blob["data"], str) else blob["data"], altchars=b"-_")
