"""What the engine and a captioning service say to each other: plain records, never an SDK's objects.

A caught SDK error holds its request, and so the API key; nothing of the kind leaves a service's own module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class Kind(StrEnum):
    """Classes of what goes wrong; each has its own treatment (`sg.caption.hosted.engine.retries`)."""

    TRANSIENT = "transient"
    QUOTA = "quota"
    QUOTA_DAY = "quota_day"
    TIER_CAP = "tier_cap"
    STORAGE = "storage"
    MEDIA = "media"
    LOST_FILE = "lost_file"
    TRUNCATED = "truncated"
    BLOCKED = "blocked"
    ODD = "odd"
    """RECITATION, LANGUAGE, OTHER, and reasons that nobody knows yet."""
    CONFIG = "config"
    UNCLEAR = "unclear"
    """A 400 that may be the settings' fault or the clip's."""
    QUALITY = "quality"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request as the service counted them; video and audio are parts of `input`."""

    input: int = 0
    output: int = 0
    thinking: int = 0
    cached: int = 0
    video: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input + self.output + self.thinking


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer, good or not: why it ended decides."""

    text: str
    finish_reason: str = ""
    block_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    model_version: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that gave no answer. `message` is short and holds no secret."""

    kind: Kind
    message: str
    code: int = 0
    status: str = ""
    quota_ids: tuple[str, ...] = ()
    retry_after_s: float | None = None

    def sentence(self) -> str:
        """`429 RESOURCE_EXHAUSTED: You exceeded your current quota.`"""
        head = " ".join(str(part) for part in (self.code or "", self.status) if part)
        return f"{head}: {self.message}" if head else self.message


@dataclass(frozen=True, slots=True)
class Media:
    """The film of a request: its bytes, or the uri of an uploaded file."""

    mime_type: str
    data: bytes | None = None
    uri: str = ""
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One caption to write. `generation` is what reaches the service's generation config."""

    model: str
    system: str
    user: str
    media: Media | None
    generation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file at the service; `state` is PROCESSING, ACTIVE or FAILED."""

    name: str
    uri: str
    state: str
    size: int = 0
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A batch job at the service; `state` is PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED or unknown."""

    name: str
    display_name: str
    state: str
    result_file: str = ""
    error: str = ""


class Service(Protocol):
    """Writes captions."""

    @property
    def name(self) -> str:
        """Which way of talking to a service this is: `gemini`, `openai_compatible`, ..."""

    @property
    def sdk(self) -> tuple[str, str]:
        """Name and version of the client library."""

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer to a request; never raises for what a service or a network does."""

    async def close(self) -> None:
        """Give connections back."""


class FileService(Protocol):
    """A service that takes files too large to send inline."""

    async def upload(self, path: Path, name: str, mime_type: str) -> StoredFile | Failure:
        """Upload the file under the generated `name` (at most 40 of a-z, 0-9 and -)."""

    async def get_file(self, name: str) -> StoredFile | Failure:
        """How the file stands."""

    async def delete_file(self, name: str) -> Failure | None:
        """Delete the file; one that is gone already is no failure."""

    async def list_files(self) -> Sequence[StoredFile] | Failure:
        """All files of the project."""


class BatchService(FileService, Protocol):
    """A service with batch jobs."""

    def batch_line(self, key: str, request: Request) -> bytes:
        """One line of a job's input file."""

    async def create_batch(self, model: str, file_name: str, display_name: str) -> BatchJob | Failure:
        """Submit an uploaded input file as a job."""

    async def get_batch(self, name: str) -> BatchJob | Failure:
        """How a job stands."""

    async def list_batches(self) -> Sequence[BatchJob] | Failure:
        """All jobs of the project."""

    async def cancel_batch(self, name: str) -> Failure | None:
        """Ask for a job's end."""

    async def download(self, file_name: str, path: Path) -> Failure | None:
        """Write a result file to `path`."""

    def read_batch_line(self, line: bytes) -> tuple[str, Answer | Failure] | None:
        """Key and outcome of a line of a result file; None when the line is none."""
