"""Files and batch jobs of the Gemini API."""

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sg.caption.hosted.services import wire
from sg.caption.hosted.services.failures import TooLargeError, from_rpc
from sg.caption.hosted.services.gemini import Gemini, answer_from_json, outcome_of, wire_body
from sg.caption.hosted.services.records import ENDED, Answer, BatchJob, Failure, Kind, Request, StoredFile

_DOWNLOAD_MS = 3_600_000
_MAX_FILE_BYTES = 2**41
_CLOUD_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_only",)


class GeminiJobs(Gemini):
    """Gemini with its file store and its batch mode."""

    async def upload(self, path: Path, name: str, mime_type: str) -> StoredFile | Failure:
        """Upload the file, opened here: the SDK would send the name of a path in a header, where it can fail."""
        with path.open("rb") as stream:
            stored = await outcome_of(
                self.client.aio.files.upload(
                    file=stream, config={"name": name, "mime_type": mime_type, "display_name": name}
                )
            )
        return stored if isinstance(stored, Failure) else _stored(stored.model_dump(mode="json", by_alias=True))

    async def register(self, uri: str) -> StoredFile | Failure:
        """Let the service read a Cloud Storage object, with the machine's Google credentials: a key is not enough."""

        async def call() -> Any:
            import google.auth

            # A lookup can read files and ask the metadata server of a cloud machine.
            credentials, _ = await asyncio.to_thread(google.auth.default, scopes=_CLOUD_SCOPES)
            return await self.client.aio.files.register_files(auth=credentials, uris=[uri])

        made = await outcome_of(call())
        if isinstance(made, Failure):
            if "DefaultCredentialsError" in made.message:
                return replace(made, kind=Kind.CONFIG)
            return made
        files = made.model_dump(mode="json", by_alias=True).get("files")
        return _stored(wire.first(files)) if files else Failure(Kind.TRANSIENT, "no file was registered", 200)

    async def get_file(self, name: str) -> StoredFile | Failure:
        """The state of the file; an expired file is a LOST_FILE failure."""
        found = await self._get(name, used_file=True)
        return found if isinstance(found, Failure) else _stored(found)

    async def delete_file(self, name: str) -> Failure | None:
        """Delete the file; a file that is already gone is not a failure."""
        done = await outcome_of(self.client.aio.files.delete(name=name), used_file=True)
        return done if isinstance(done, Failure) and done.code not in (403, 404) else None

    async def list_files(self) -> Sequence[StoredFile] | Failure:
        """All files of the project."""
        listed = await self._pages("files")
        return listed if isinstance(listed, Failure) else [_stored(file) for file in listed]

    def batch_line(self, key: str, request: Request) -> bytes:
        """One JSON line `{"key", "request"}`, in the camelCase of the API."""
        body = wire_body(request)
        return json.dumps({"key": key, "request": body}, ensure_ascii=False, separators=(",", ":")).encode()

    async def create_batch(self, model: str, file_name: str, display_name: str) -> BatchJob | Failure:
        """Submit an uploaded JSONL file as a job."""
        made = await outcome_of(
            self.client.aio.batches.create(model=model, src=file_name, config={"display_name": display_name})
        )
        if isinstance(made, Failure):
            return made
        if not made.name:
            return Failure(Kind.TRANSIENT, "the service confirmed a batch job without its name", 200)
        return BatchJob(made.name, display_name, "")

    async def get_batch(self, name: str) -> BatchJob | Failure:
        """The state of a job, read from the raw operation: the SDK drops the error of a failed job."""
        found = await self._get(name)
        return found if isinstance(found, Failure) else _operation(found)

    async def list_batches(self) -> Sequence[BatchJob] | Failure:
        """All jobs of the project."""
        listed = await self._pages("batches", "operations")
        return listed if isinstance(listed, Failure) else [_operation(operation) for operation in listed]

    async def cancel_batch(self, name: str) -> Failure | None:
        """Cancel a job."""
        done = await outcome_of(self.client.aio.batches.cancel(name=name))
        return done if isinstance(done, Failure) else None

    async def download(self, file_name: str, path: Path, most_bytes: int) -> Failure | None:
        """Write a result file to `path`; a file of more than `most_bytes` is a failure."""
        with path.open("wb") as stream:
            done = await outcome_of(
                self.client.aio.files.download(
                    file=file_name,
                    destination=_BoundedFile(stream, most_bytes),
                    config={"http_options": {"timeout": _DOWNLOAD_MS}},
                )
            )
        if isinstance(done, Failure):
            path.unlink()
            return done
        return None

    def read_batch_line(self, line: bytes) -> tuple[str, Answer | Failure] | None:
        """Key and outcome of a line; None if it is not a line of a result file."""
        try:
            entry = wire.mapping(wire.document(line))
        except ValueError:
            return None
        key = wire.text(entry.get("key")) or wire.text(wire.mapping(entry.get("metadata")).get("key"))
        if not key:
            return None
        if isinstance(entry.get("response"), Mapping):
            return key, answer_from_json(entry["response"])
        return key, from_rpc(entry.get("error"), used_file=True)

    async def _get(self, path: str, *, used_file: bool = False) -> Any:
        """The parsed document at a path, or a `Failure`."""

        async def read() -> Any:
            response = await self.client._api_client.async_request("get", path, {})
            return wire.document(response.body or "")

        return await outcome_of(read(), used_file=used_file)

    async def _pages(self, path: str, name: str = "") -> list[Any] | Failure:
        """All elements of a list that the service sends in pages; `name` is that of the list, if not the path."""
        found: list[Any] = []
        token, seen = "", set[str]()
        while token not in seen:
            seen |= {token, ""}
            page = await self._get(f"{path}?pageSize=100" + (f"&pageToken={quote(token)}" if token else ""))
            if isinstance(page, Failure):
                return page
            found += wire.items(wire.mapping(page).get(name or path))
            token = wire.text(wire.mapping(page).get("nextPageToken"))
        return found


class _BoundedFile(io.RawIOBase):
    """A file that takes no more than a number of bytes."""

    def __init__(self, stream: io.BufferedWriter, most_bytes: int) -> None:
        self._stream, self._room = stream, most_bytes

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise TooLargeError("the result file has more bytes than the answers of its videos can have")
        return self._stream.write(data)


def _stored(document: Any) -> StoredFile:
    """A file from its document; a missing state is that of a file that was never processed."""
    body = wire.mapping(document)
    state = wire.name(body.get("state")).upper() or "ACTIVE"
    # A registered object lies in the user's bucket and takes no space in the store.
    is_registered = wire.name(body.get("source")).upper() == "REGISTERED"
    size = 0 if is_registered else wire.count(body.get("sizeBytes"), _MAX_FILE_BYTES) or 0
    problem = from_rpc(body.get("error")) if state == "FAILED" and body.get("error") else None
    return StoredFile(wire.text(body.get("name")), wire.text(body.get("uri")), state, size, problem)


def _operation(document: Any) -> BatchJob:
    """A job from its operation. Results are in `metadata.output` or in `response`, as the name of a file or inline."""
    body = wire.mapping(document)
    metadata, response = wire.mapping(body.get("metadata")), wire.mapping(body.get("response"))
    outputs = [wire.mapping(metadata.get("output")), response, wire.mapping(response.get("output"))]
    state = wire.name(metadata.get("state")).upper().removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    if body.get("done") is True and state not in ENDED:
        state = "FAILED" if body.get("error") else "SUCCEEDED"
    return BatchJob(
        name=wire.text(body.get("name")),
        display_name=wire.text(metadata.get("displayName")),
        state=state,
        result_file=next(filter(None, (wire.text(output.get("responsesFile")) for output in outputs)), ""),
        error=wire.name(wire.mapping(body.get("error")).get("message")),
        inline_results=next(filter(None, (_inline(output.get("inlinedResponses")) for output in outputs)), ()),
    )


def _inline(value: Any) -> tuple[bytes, ...]:
    """Inline results as lines of a result file."""
    entries = value if isinstance(value, list) else wire.mapping(value).get("inlinedResponses")
    return tuple(json.dumps(entry).encode() for entry in wire.items(entries) if isinstance(entry, Mapping))
