"""The routes of the fake service."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.caption.hosted.fake_gemini import answers, batches, files
from tests.caption.hosted.fake_gemini.faults import faulty, good_answer_is_sent, plan_from_json
from tests.caption.hosted.fake_gemini.http import Request, Response, serve
from tests.caption.hosted.fake_gemini.state import State, inline_bytes, media_item, part_value

_VERSION = r"^/(?:v1|v1beta)"
_MODEL = re.compile(_VERSION + r"/models/([^/:]+):(\w+)$")


class FakeGemini:
    """One service with its `state`."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()

    async def start(self, port: int = 0) -> tuple[asyncio.Server, int]:
        return await serve(self.handle, port)

    async def handle(self, request: Request) -> Response:
        state, path = self.state, request.path
        if path.startswith("/_"):
            return self._control(request)
        if state.settings.redirect is not None:
            code, target = state.settings.redirect
            return Response(code, b"", {"Location": target + path})
        if path.endswith("/chat/completions"):
            return await self._chat(request)
        route = re.sub(r"(files|batches|_upload)/.*", r"\1/*", path)
        state.routes[f"{request.method} {route}"] += 1
        if faults := state.settings.route_faults.get(f"{request.method} {route}"):
            return faulty(faults.pop(0), "", "", 0)
        if path == "/discovery":
            return files.discovery(request)
        if request.headers.get("x-goog-api-key", request.query.get("key", [""])[0]) != state.settings.key:
            missing = "x-goog-api-key" not in request.headers
            body = answers.error(403, "PERMISSION_DENIED", "No key.") if missing else answers.bad_key()
            return Response(body["error"]["code"], answers.encoded(body))
        if (match := _MODEL.match(path)) is not None:
            return await self._model(request, match[1], match[2])
        if path.endswith("/files:register"):
            return files.register(state, request)
        if re.search(r"/files(/|$)", path) or path.startswith("/_upload"):
            return files.handle(state, request)
        if re.search(r"/batches(/|$)", path):
            return batches.handle(state, request)
        return Response(404, answers.encoded(answers.error(404, "NOT_FOUND", f"no route {path}")))

    async def _model(self, request: Request, model: str, verb: str) -> Response:
        body = json.loads(request.body)
        if verb == "batchGenerateContent":
            return batches.create(self.state, model, body)
        if verb == "countTokens" and (whole := part_value(body, "generateContentRequest", "generate_content_request")):
            if "contents" in body or whole.get("model") != f"models/{model}":
                wrong = answers.error(400, "INVALID_ARGUMENT", "contents beside generateContentRequest, or its model.")
                return Response(400, answers.encoded(wrong))
            body = whole
        found = self.read_contents(body)
        if isinstance(found, Response):
            return found
        item, tokens = found
        if verb == "countTokens":
            return Response(200, answers.encoded({"totalTokens": tokens}))
        if len(self.state.bodies) < 50:
            self.state.bodies.append(shortened(body))
        return await self._generate(item, model, tokens)

    async def _generate(self, item: str, model: str, tokens: int) -> Response:
        state = self.state
        state.arrivals.append((time.time(), tokens))
        number = state.requests[item]
        state.requests[item] += 1
        fault = state.settings.plan.fault(item, number)
        if fault:
            state.faults[fault] += 1
        if delay := state.slot_delay() + state.settings.latency_s:
            await asyncio.sleep(delay)
        model = state.settings.answered_model or model
        if fault:
            response = faulty(fault, item, model, tokens)
        else:
            response = Response(200, answers.encoded(answers.answer(answers.caption_text(item), model, tokens)))
        if good_answer_is_sent(fault):
            response.sent = lambda: state.paid.update([item])
        return response

    def read_contents(self, body: dict[str, Any]) -> tuple[str, int] | Response:
        """The item of a request and its prompt tokens, or the error for a missing file."""
        item, tokens = "", 250
        for content in body["contents"]:
            for part in content["parts"]:
                if (blob := part_value(part, "inlineData", "inline_data")) is not None:
                    data = inline_bytes(blob)
                    item, tokens = media_item(data), tokens + 1000
                elif (file := part_value(part, "fileData", "file_data")) is not None:
                    uri = part_value(file, "fileUri", "file_uri")
                    stored = self.state.file_at(uri)
                    if stored is None or stored.expired:
                        return faulty("file_gone", "", "", 0)
                    item, tokens = media_item(stored.data), tokens + 1000
        return item or answers_item(body), tokens

    async def _chat(self, request: Request) -> Response:
        """The chat format of OpenAI, as self-hosted servers implement it."""
        body = json.loads(request.body)
        item = ""
        for part in body["messages"][-1]["content"]:
            url = (part.get("video_url") or part.get("image_url") or {}).get("url", "")
            if url.startswith("https://") and (file := self.state.file_at(url)):
                item = media_item(file.data)
            if url.startswith("file://"):
                item = media_item(Path(unquote(urlsplit(url).path)).read_bytes())
                self.state.addresses[url] += 1
            if url.startswith("data:") and not item:
                item = media_item(inline_bytes({"data": url.split(",", 1)[1]}))
        made = await self._generate(item, body["model"], 1000)
        if (
            made.as_is
            or made.breakage
            or made.status != 200
            or not made.body.startswith(b"{")
            or not made.body.endswith(b"}")
        ):
            return made
        values = json.loads(made.body)
        candidate = values.get("candidates", [{}])[0]
        parts = candidate.get("content", {}).get("parts", [])
        reasons = {"STOP": "stop", "MAX_TOKENS": "length"}
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": parts[0]["text"] if parts else None},
            "finish_reason": reasons.get(candidate.get("finishReason", ""), "content_filter"),
        }
        counts = values["usageMetadata"]
        made.body = answers.encoded(
            {
                "id": values["responseId"],
                "model": body["model"],
                "choices": [choice],
                "usage": {
                    "prompt_tokens": counts["promptTokenCount"],
                    "completion_tokens": counts["candidatesTokenCount"],
                },
            }
        )
        return made

    def _control(self, request: Request) -> Response:
        if request.path == "/_plan":
            self.state.settings.plan = plan_from_json(request.body.decode())
        elif request.path.startswith("/_upload"):
            return files.handle(self.state, request)
        return Response(200, answers.encoded(self.state.summary()))


def answers_item(body: dict[str, Any]) -> str:
    """The item of a request without media: the mark in its text."""
    return media_item(json.dumps(body["contents"]).encode())


def shortened(body: dict[str, Any]) -> dict[str, Any]:
    text = re.sub(r'("data": ")([^"]{40})[^"]*"', r'\1\2..."', json.dumps(body))
    value: dict[str, Any] = json.loads(text)
    return value
