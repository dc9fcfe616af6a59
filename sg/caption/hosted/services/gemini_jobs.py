"""Files and batch jobs of the Gemini API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sg.caption.hosted.services.failures import from_http
from sg.caption.hosted.services.gemini import Gemini, answer_from_json, outcome_of, wire_body
from sg.caption.hosted.services.records import Answer, BatchJob, Failure, Request, StoredFile
from sg.caption.hosted.services.secrets import Secret


class GeminiJobs(Gemini):
    """Gemini with its file store and its batch mode."""

    def __init__(self, key: Secret, *, base_url: str | None, api_version: str, timeout_s: float) -> None:
        super().__init__(key, base_url=base_url, api_version=api_version, timeout_s=timeout_s)
        self._key, self._api_version = key, api_version
        self._base_url = (base_url or "https://generativelanguage.googleapis.com").rstrip("/")

    async def upload(self, path: Path, name: str, mime_type: str) -> StoredFile | Failure:
        """Upload the file, opened here: the SDK would send the name of a path in a header, where it can fail."""
        with path.open("rb") as stream:
            stored = await outcome_of(
                self.client.aio.files.upload(
                    file=stream, config={"name": name, "mime_type": mime_type, "display_name": name}
                )
            )
        return stored if isinstance(stored, Failure) else _stored(stored)

    async def get_file(self, name: str) -> StoredFile | Failure:
        """The state of the file; an expired file is a LOST_FILE failure."""
        found = await outcome_of(self.client.aio.files.get(name=name), used_file=True)
        return found if isinstance(found, Failure) else _stored(found)

    async def delete_file(self, name: str) -> Failure | None:
        """Delete the file; a file that is already gone is not a failure."""
        done = await outcome_of(self.client.aio.files.delete(name=name), used_file=True)
        return done if isinstance(done, Failure) and done.code not in (403, 404) else None

    async def list_files(self) -> Sequence[StoredFile] | Failure:
        """All files of the project."""

        async def read() -> list[StoredFile]:
            return [_stored(file) async for file in await self.client.aio.files.list()]

        return await outcome_of(read())

    def batch_line(self, key: str, request: Request) -> bytes:
        """One JSON line `{"key", "request"}`, in the camelCase of the API."""
        body = wire_body(request)
        return json.dumps({"key": key, "request": body}, ensure_ascii=False, separators=(",", ":")).encode()

    async def create_batch(self, model: str, file_name: str, display_name: str) -> BatchJob | Failure:
        """Submit an uploaded JSONL file as a job."""
        made = await outcome_of(
            self.client.aio.batches.create(model=model, src=file_name, config={"display_name": display_name})
        )
        return made if isinstance(made, Failure) else _job(made)

    async def get_batch(self, name: str) -> BatchJob | Failure:
        """The state of a job, read from the raw operation, because the SDK drops the error of a failed job."""
        import aiohttp

        url = f"{self._base_url}/{self._api_version}/{name}"
        headers = {"x-goog-api-key": self._key.reveal()}

        async def read() -> tuple[int, Any]:
            timeout = aiohttp.ClientTimeout(total=60)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, headers=headers) as response,
            ):
                return response.status, await response.json(content_type=None)

        found = await outcome_of(read())
        if isinstance(found, Failure):
            return found
        code, body = found
        return from_http(code, body) if code != 200 else _operation(body)

    async def list_batches(self) -> Sequence[BatchJob] | Failure:
        """All jobs of the project."""

        async def read() -> list[BatchJob]:
            return [_job(job) async for job in await self.client.aio.batches.list()]

        return await outcome_of(read())

    async def cancel_batch(self, name: str) -> Failure | None:
        """Cancel a job."""
        done = await outcome_of(self.client.aio.batches.cancel(name=name))
        return done if isinstance(done, Failure) else None

    async def download(self, file_name: str, path: Path) -> Failure | None:
        """Write a result file to `path`."""
        data = await outcome_of(self.client.aio.files.download(file=file_name))
        if isinstance(data, Failure):
            return data
        path.write_bytes(data)
        return None

    def read_batch_line(self, line: bytes) -> tuple[str, Answer | Failure] | None:
        """Key and outcome of a line; None if it is not a line of a result file."""
        try:
            entry = json.loads(line)
            key = str(entry["key"])
        except (ValueError, KeyError, TypeError):
            return None
        if isinstance(entry.get("response"), Mapping):
            return key, answer_from_json(entry["response"])
        error = entry.get("error") or {}
        return key, from_http(int(error.get("code") or 500), {"error": error}, used_file=True)


def _stored(file: Any) -> StoredFile:
    state = str(getattr(file.state, "value", file.state) or "ACTIVE")
    return StoredFile(file.name or "", file.uri or "", state, int(file.size_bytes or 0), file.display_name or "")


def _job(job: Any) -> BatchJob:
    state = str(getattr(job.state, "value", job.state) or "").removeprefix("JOB_STATE_").removeprefix("BATCH_STATE_")
    result = (job.dest.file_name if job.dest else None) or ""
    return BatchJob(job.name or "", job.display_name or "", state, result)


def _operation(body: Mapping[str, Any]) -> BatchJob:
    metadata = body.get("metadata") or {}
    state = str(metadata.get("state") or "").removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    result = str((metadata.get("output") or {}).get("responsesFile") or "")
    error = str((body.get("error") or {}).get("message") or "")
    return BatchJob(str(body.get("name", "")), str(metadata.get("displayName", "")), state, result, error)
