"""The Files API: resumable upload, states, expiry, deletion, and results of batch jobs to download."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.caption.hosted.fake_gemini import answers
from tests.caption.hosted.fake_gemini.faults import faulty
from tests.caption.hosted.fake_gemini.http import Request, Response
from tests.caption.hosted.fake_gemini.state import State, StoredFile


def register(state: State, request: Request) -> Response:
    """Cloud Storage objects, named after their item; a key alone may not register them."""
    if request.headers.get("authorization") != "Bearer cloud-token":
        return Response(401, answers.encoded(answers.error(401, "UNAUTHENTICATED", "An OAuth token is needed.")))
    made = []
    for uri in json.loads(request.body)["uris"]:
        state.addresses[uri] += 1
        item = uri.rsplit("/", 1)[-1].partition(".")[0]
        name = "files/reg-" + hashlib.sha256(uri.encode()).hexdigest()[:16]
        made_file = StoredFile(name, "video/mp4", "", b"clip:%s;" % item.encode(), declared_size=10**9)
        made_file.source, made_file.uri = "REGISTERED", uri
        state.files[name] = made_file
        made.append(_described(state, state.files[name], request.host))
    return Response(200, answers.encoded({"files": made}))


def handle(state: State, request: Request) -> Response:
    path = request.path
    if path.startswith("/upload/"):
        return _start(state, request)
    if path.startswith("/_upload/"):
        return _piece(state, request)
    if path.endswith(":download"):
        name = "files/" + path.split("/files/")[1].removesuffix(":download")
        if name not in state.results:
            return Response(404, answers.encoded(answers.error(404, "NOT_FOUND", f"{name} is not found")))
        return Response(200, state.results[name], content_type="application/octet-stream")
    if path.endswith("/files"):
        live = [_described(state, file, request.host) for file in state.files.values() if not file.gone]
        return Response(200, answers.encoded({"files": live}))
    name = "files/" + path.split("/files/")[1]
    file = state.files.get(name)
    if len(name) > 46:
        return Response(400, answers.encoded(answers.error(400, "INVALID_ARGUMENT", "The name is too long.")))
    if file is None or file.gone or file.expired:
        return faulty("file_gone", "", "", 0)
    if request.method == "DELETE":
        del state.files[name]
        return Response(200, b"{}")
    file.polls += 1
    other = state.settings.file_states.pop(0) if state.settings.file_states else {}
    return Response(200, answers.encoded(_described(state, file, request.host) | other))


def discovery(request: Request) -> Response:
    """The discovery document that the legacy SDK asks for before an upload."""
    upload = {
        "id": "generativelanguage.media.upload",
        "path": "v1beta/files",
        "flatPath": "v1beta/files",
        "httpMethod": "POST",
        "supportsMediaUpload": True,
        "request": {"$ref": "CreateFileRequest"},
        "response": {"$ref": "CreateFileResponse"},
        "parameterOrder": [],
        "parameters": {},
        "mediaUpload": {
            "accept": ["*/*"],
            "protocols": {"resumable": {"multipart": True, "path": "/upload/v1beta/files"}},
        },
    }
    document = {
        "kind": "discovery#restDescription",
        "name": "generativelanguage",
        "version": "v1beta",
        "rootUrl": f"http://{request.host}/",
        "servicePath": "",
        "baseUrl": f"http://{request.host}/",
        "batchPath": "batch",
        "parameters": {"key": {"type": "string", "location": "query"}},
        "schemas": {
            "CreateFileRequest": {"id": "CreateFileRequest", "type": "object", "properties": {}},
            "CreateFileResponse": {"id": "CreateFileResponse", "type": "object", "properties": {}},
        },
        "resources": {"media": {"methods": {"upload": upload}}},
    }
    return Response(200, answers.encoded(document))


def _start(state: State, request: Request) -> Response:
    wanted: dict[str, Any] = json.loads(request.body or b"{}").get("file", {})
    name = wanted.get("name") or f"files/{uuid.uuid4().hex[:12]}"
    size = int(
        request.headers.get("x-goog-upload-header-content-length", request.headers.get("x-upload-content-length", 0))
    )
    if name in state.files:
        return Response(409, answers.encoded(answers.error(409, "ALREADY_EXISTS", f"{name} exists")))
    if state.stored_bytes() + size > state.settings.store_cap:
        return faulty("429_storage", "", "", 0)
    mime = wanted.get("mimeType") or wanted.get("mime_type") or request.headers.get("x-upload-content-type", "")
    upload = uuid.uuid4().hex
    shown = wanted.get("displayName") or wanted.get("display_name") or ""
    state.uploads[upload] = StoredFile(name, mime, shown, b"", declared_size=size)
    state.peak_bytes = max(state.peak_bytes, state.stored_bytes())
    url = f"http://{request.host}/_upload/{upload}"
    headers = {"X-Goog-Upload-URL": url, "X-Goog-Upload-Status": "active", "Location": url}
    return Response(200, b"{}", headers, breakage="silence" if state.settings.held == "upload" else "")


def _piece(state: State, request: Request) -> Response:
    upload = request.path.rsplit("/", 1)[-1]
    file = state.uploads[upload]
    file.data += request.body
    command = request.headers.get("x-goog-upload-command", "upload, finalize")
    if "finalize" not in command:
        return Response(200, b"", {"X-Goog-Upload-Status": "active"})
    del state.uploads[upload]
    file.declared_size = 0
    state.files[file.name] = file
    state.peak_bytes = max(state.peak_bytes, state.stored_bytes())
    body = answers.encoded({"file": _described(state, file, request.host)})
    return Response(200, body, {"X-Goog-Upload-Status": "final"})


def _described(state: State, file: StoredFile, host: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    ready = file.polls >= state.settings.polls_until_active
    return {
        "name": file.name,
        "displayName": file.display_name,
        "mimeType": file.mime_type,
        "sizeBytes": str(file.size),
        "createTime": now.isoformat(),
        "updateTime": now.isoformat(),
        "expirationTime": (now + timedelta(hours=48)).isoformat(),
        "sha256Hash": hashlib.sha256(file.data).hexdigest(),
        "uri": file.uri or f"http://{host}/v1beta/{file.name}",
        "source": file.source,
        "state": "FAILED" if file.failed else ("ACTIVE" if ready else "PROCESSING"),
    }
