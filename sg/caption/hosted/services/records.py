"""What the engine and a service exchange: plain records, never an SDK's objects.

A caught SDK error refers to its request, and so to the API key: it must not leave the module of the service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

ENDED = ("SUCCEEDED", "EXPIRED", "CANCELLED", "FAILED", "PARTIALLY_SUCCEEDED")
"""States of batch jobs that have ended."""


class Kind(StrEnum):
    """Classes of errors; each has its own treatment (`sg.caption.hosted.engine.retries`)."""

    TRANSIENT = "transient"
    SHED = "shed"
    """The service has no room for a request of its cheap tier now."""
    QUOTA = "quota"
    QUOTA_DAY = "quota_day"
    TIER_CAP = "tier_cap"
    STORAGE = "storage"
    MEDIA = "media"
    LOST_FILE = "lost_file"
    TRUNCATED = "truncated"
    BLOCKED = "blocked"
    ODD = "odd"
    """RECITATION, LANGUAGE, OTHER, and unknown finish reasons."""
    CONFIG = "config"
    UNCLEAR = "unclear"
    """A 400 whose cause may be the settings or the video."""
    QUALITY = "quality"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request as the service counted them; cached, video and audio are parts of `input`.

    `gpu_seconds` is its share of the time of a GPU of one's own, where that is what a request costs.
    """

    input: int = 0
    output: int = 0
    thinking: int = 0
    cached: int = 0
    video: int = 0
    audio: int = 0
    cached_audio: int = 0
    gpu_seconds: float = 0.0

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input + self.output + self.thinking


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer; `finish_reason` and `block_reason` say whether it is usable.

    `is_counted` is False if the service did not report its tokens, or reported impossible numbers. `tier` is the tier
    that answered, if the service named one: it may serve a request in a lower tier than the one that was asked for.
    `first_tokens` are the likeliest first tokens with their log-probabilities, if the service gave them.
    """

    text: str
    finish_reason: str = ""
    block_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    is_counted: bool = True
    model_version: str = ""
    request_id: str = ""
    tier: str = ""
    first_tokens: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A call without an answer. `message` is short and contains no secret."""

    kind: Kind
    message: str
    code: int = 0
    status: str = ""
    quota_ids: tuple[str, ...] = ()
    retry_after_s: float | None = None

    def sentence(self) -> str:
        """Code, status and message, such as `429 RESOURCE_EXHAUSTED: You exceeded your current quota.`"""
        head = " ".join(str(part) for part in (self.code or "", self.status) if part)
        return f"{head}: {self.message}" if head else self.message


@dataclass(frozen=True, slots=True)
class RequestMedia:
    """The video of a request: its bytes, or the uri of an uploaded file."""

    mime_type: str
    data: bytes | None = None
    uri: str = ""
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `generation` becomes the service's generation config; `tier` is sent beside it.

    `pictures` are shown before the text. The answer continues `reply`.
    """

    model: str
    system: str
    user: str
    media: RequestMedia | None
    generation: Mapping[str, Any] = field(default_factory=dict)
    tier: str = ""
    pictures: Sequence[RequestMedia] = ()
    reply: str = ""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file at the service; `state` is PROCESSING, ACTIVE, FAILED (for the reason `problem`) or unknown."""

    name: str
    uri: str
    state: str
    size: int = 0
    problem: Failure | None = None


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A batch job at the service; `state` is PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED or unknown.

    A job that has ended may have its results in a file, or as lines in the job itself (`inline_results`).
    """

    name: str
    display_name: str
    state: str
    result_file: str = ""
    error: str = ""
    inline_results: tuple[bytes, ...] = ()


class Service(Protocol):
    """A client of a service that writes captions."""

    @property
    def name(self) -> str:
        """The API: `gemini`, `openai_compatible`, ..."""

    @property
    def sdk(self) -> tuple[str, str]:
        """Name and version of the client library."""

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer to a request; errors of the service and the network are returned, not raised."""

    async def close(self) -> None:
        """Close the connections."""


class CountingService(Service, Protocol):
    """A service that counts tokens free of charge."""

    async def count_tokens(self, request: Request) -> int | Failure:
        """Input tokens of the request."""


class FileService(Protocol):
    """A service that keeps files too large to send inside a request."""

    async def upload(self, path: Path, name: str, mime_type: str) -> StoredFile | Failure:
        """Upload the file under the generated `name` (at most 40 of a-z, 0-9 and -)."""

    async def register(self, uri: str) -> StoredFile | Failure:
        """Let the service read a Cloud Storage object (`gs://bucket/name`), which takes no space in its store."""

    async def get_file(self, name: str) -> StoredFile | Failure:
        """The state of the file."""

    async def delete_file(self, name: str) -> Failure | None:
        """Delete the file; a file that is already gone is not a failure."""

    async def list_files(self) -> Sequence[StoredFile] | Failure:
        """All files of the project."""


class BatchService(FileService, Protocol):
    """A service with batch jobs."""

    def batch_line(self, key: str, request: Request) -> bytes:
        """One line of a job's input file."""

    async def create_batch(self, model: str, file_name: str, display_name: str) -> BatchJob | Failure:
        """Submit an uploaded input file as a job."""

    async def get_batch(self, name: str) -> BatchJob | Failure:
        """The state of a job."""

    async def list_batches(self) -> Sequence[BatchJob] | Failure:
        """All jobs of the project."""

    async def cancel_batch(self, name: str) -> Failure | None:
        """Cancel a job."""

    async def download(self, file_name: str, path: Path, most_bytes: int) -> Failure | None:
        """Write a result file to `path`; a file of more than `most_bytes` is a failure."""

    def read_batch_line(self, line: bytes) -> tuple[str, Answer | Failure] | None:
        """Key and outcome of a line of a result file; None if it is not such a line."""
