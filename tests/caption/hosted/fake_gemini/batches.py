"""Batch jobs: created from a file of requests, done after some polls, with results to download."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.caption.hosted.fake_gemini import answers
from tests.caption.hosted.fake_gemini.batch_forms import FILES, OPERATIONS
from tests.caption.hosted.fake_gemini.faults import faulty, good_answer_is_sent
from tests.caption.hosted.fake_gemini.http import Request, Response
from tests.caption.hosted.fake_gemini.state import Batch, State, inline_bytes, media_item, part_value

FINAL = ("BATCH_STATE_SUCCEEDED", "BATCH_STATE_FAILED", "BATCH_STATE_CANCELLED", "BATCH_STATE_EXPIRED")
LOST = {
    "create_reset": Response(),
    "create_nameless": Response(200, b"{}"),
    "create_html": Response(504, b"<html>Gateway Timeout</html>", content_type="text/html"),
    "create_truncated": Response(200, b'{"name": "batches/'),
}
"""Answers to the creation of a job that was created, from which a client cannot know that."""


def create(state: State, model: str, body: dict[str, Any]) -> Response:
    wanted = body["batch"]
    source = wanted["inputConfig"]
    if (name := part_value(source, "fileName", "file_name")) is not None:
        lines = [json.loads(line) for line in state.files[name].data.splitlines() if line.strip()]
    else:
        inlined = source["requests"]["requests"]
        lines = [{"key": entry["metadata"]["key"], "request": entry["request"]} for entry in inlined]
    shown = part_value(wanted, "displayName", "display_name") or ""
    batch = Batch(f"batches/{uuid.uuid4().hex[:12]}", model, shown, lines)
    state.batches[batch.name] = batch
    held, lost = state.settings.held, state.settings.held in LOST
    state.settings.held = "" if lost else held
    if held in LOST and held != "create_reset":
        return LOST[held]
    breakage = {"create": "silence", "create_reset": "reset"}.get(held, "")
    return Response(200, answers.encoded(_operation(batch)), breakage=breakage)


def handle(state: State, request: Request) -> Response:
    if request.path.endswith("/batches"):
        if state.settings.listed_after:
            state.settings.listed_after -= 1
            return Response(200, b"{}")
        operations = [_operation(batch) for batch in state.batches.values()]
        return Response(200, answers.encoded({"operations": operations}))
    name = "batches/" + request.path.split("/batches/")[1].split(":")[0]
    batch = state.batches[name]
    if request.path.endswith(":cancel"):
        batch.state = "BATCH_STATE_CANCELLED"
        return Response(200, b"{}")
    _advance(state, batch)
    change = OPERATIONS.get(state.settings.batch_form, dict)
    return Response(200, answers.encoded(change(_operation(batch))))


def _operation(batch: Batch) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "displayName": batch.display_name,
        "state": batch.state,
        "model": f"models/{batch.model}",
        "batchStats": {"requestCount": str(len(batch.lines))},
    }
    if batch.result_file:
        metadata["output"] = {"responsesFile": batch.result_file}
    if batch.inline:
        metadata["output"] = {"inlinedResponses": {"inlinedResponses": batch.inline}}
    operation: dict[str, Any] = {"name": batch.name, "metadata": metadata, "done": batch.state in FINAL}
    if batch.inline:
        operation["response"] = metadata["output"]
    if batch.state == "BATCH_STATE_FAILED":
        operation["error"] = {"code": 13, "message": "Internal error in batch"}
    return operation


def _advance(state: State, batch: Batch) -> None:
    fault = state.settings.batch_fault
    if fault and not fault.startswith("always_") and batch is not next(iter(state.batches.values())):
        fault = ""
    fault = fault.removeprefix("always_")
    if batch.state in FINAL or fault == "stuck":
        return
    batch.polls += 1
    batch.state = "BATCH_STATE_RUNNING"
    if batch.polls < state.settings.polls_until_done:
        return
    if fault in ("failed", "cancelled"):
        batch.state = f"BATCH_STATE_{fault.upper()}"
        return
    lines = [_answered(state, batch, line) for line in batch.lines]
    if fault == "expired":
        lines = lines[: len(lines) // 2]
    elif fault == "missing":
        lines = lines[1:]
    elif fault == "duplicate":
        lines += lines[:1]
    elif fault == "foreign":
        lines.append({"key": "not-one-of-yours", "response": answers.answer("A cat.", batch.model, 10)})
    elif fault == "error_first":
        lines.append({"key": lines[0]["key"], "error": {"code": 13, "message": "Internal error"}})  # it is read first
    elif fault == "unreadable":
        lines = [{"line": line} for line in lines]
    elif fault == "inline":
        batch.inline = [
            {"metadata": {"key": line["key"]}, **{name: line[name] for name in ("response", "error") if name in line}}
            for line in lines
        ]
    batch.state = "BATCH_STATE_EXPIRED" if fault == "expired" else "BATCH_STATE_SUCCEEDED"
    if fault in ("inline", "no_results"):
        return
    batch.result_file = f"files/batch-{uuid.uuid4().hex}{uuid.uuid4().hex}"
    state.results[batch.result_file] = b"\n".join(json.dumps(line).encode() for line in reversed(lines)) + b"\n"
    if state.settings.batch_form in FILES and len(batch.lines) > 1:
        state.results[batch.result_file] = FILES[state.settings.batch_form](state.results[batch.result_file])
    if fault == "gone":
        del state.results[batch.result_file]


def _answered(state: State, batch: Batch, line: dict[str, Any]) -> dict[str, Any]:
    item = ""
    for part in line["request"]["contents"][0]["parts"]:
        if (blob := part_value(part, "inlineData", "inline_data")) is not None:
            item = media_item(inline_bytes(blob))
        elif (file := part_value(part, "fileData", "file_data")) is not None:
            stored = state.file_at(part_value(file, "fileUri", "file_uri"))
            if stored is None:
                return {
                    "key": line["key"],
                    "error": {"code": 403, "message": "file gone", "status": "PERMISSION_DENIED"},
                }
            item = media_item(stored.data)
    fault = state.settings.plan.fault(item, state.requests[item])
    state.requests[item] += 1
    if fault.startswith("rpc_"):
        message = "An internal error has occurred. Please retry."
        return {"key": line["key"], "error": {"code": int(fault.removeprefix("rpc_")), "message": message}}
    if fault:
        state.faults[fault] += 1
        made = faulty(fault, item, batch.model, 1250)
        try:
            body = json.loads(made.body)
        except (ValueError, RecursionError):
            body = answers.error(503, "UNAVAILABLE", "The model is overloaded.")
        if made.status != 200:
            return {"key": line["key"], "error": body.get("error", body) if isinstance(body, dict) else body}
        if good_answer_is_sent(fault):
            state.paid[item] += 1
        return {"key": line["key"], "response": body}
    state.paid[item] += 1
    return {"key": line["key"], "response": answers.answer(answers.caption_text(item), batch.model, 1250)}
