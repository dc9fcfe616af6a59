"""Gemini through Google's `google-genai`, with the SDK's own retries switched off."""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sg.caption.hosted.services import wire
from sg.caption.hosted.services.failures import (
    block_reason,
    finish_reason,
    from_exception,
    from_http,
    from_rpc,
    retry_after,
)
from sg.caption.hosted.services.http import open_session
from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, RequestMedia, Usage
from sg.caption.hosted.services.secrets import REDACTION, Secret

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from google.genai import Client

Result = TypeVar("Result")
TIER_HEADER = "x-gemini-service-tier"


class Gemini:
    """The generate and count calls of the Gemini API, asynchronous, over aiohttp.

    Bodies go through the SDK's request function instead of `models.generate_content`, which converts each of 35
    settings of a config to JSON and back for every request: three quarters of the SDK's time (`benchmarks/caption`).
    Address, key, version, time-out, connections and errors are the SDK's either way, and the body is the same as in
    batch jobs.
    """

    name = "gemini"

    def __init__(self, key: Secret, *, base_url: str | None, api_version: str, timeout_s: float) -> None:
        from google.genai import __version__

        self.sdk = ("google-genai", __version__)
        self._key, self._base_url, self._api_version, self._timeout_s = key, base_url, api_version, timeout_s
        self._session: ClientSession | None = None

    @cached_property
    def client(self) -> Client:
        """The SDK's client, made inside the event loop, where its session belongs."""
        address = self._base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL") or "https:"
        self._session = open_session(address)
        return make_client(self._key, self._base_url, self._api_version, self._timeout_s, self._session)

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer to a request; failures of network and service are returned, not raised."""
        response = await self._post(f"models/{request.model}:generateContent", wire_body(request), request)
        if isinstance(response, Failure):
            return response
        answer = answer_from_json(response[0])
        return answer if isinstance(answer, Failure) else replace(answer, tier=response[1])

    async def count_tokens(self, request: Request) -> int | Failure:
        """Input tokens of the request as the service counts them, at the request's resolution; free of charge."""
        model = f"models/{request.model}"
        whole = {"generateContentRequest": {"model": model, **wire_body(request)}}
        response = await self._post(f"{model}:countTokens", whole, request)
        if isinstance(response, Failure):
            return response
        total = wire.count(wire.mapping(response[0]).get("totalTokens"))
        return Failure(Kind.TRANSIENT, "the service returned no number of tokens", 200) if total is None else total

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self.client.aio.aclose()
            await self._session.close()

    async def _post(self, path: str, body: dict[str, Any], request: Request) -> tuple[Any, str] | Failure:
        """The parsed document and the tier that answered (empty if the service names none), or a `Failure`."""

        async def call() -> tuple[Any, str]:
            response = await self.client._api_client.async_request("post", path, body)
            headers = {name.lower(): value for name, value in (response.headers or {}).items()}
            return wire.document(response.body or ""), wire.name(headers.get(TIER_HEADER)).lower()

        return await outcome_of(call(), used_file=request.media is not None and request.media.data is None)


def make_client(
    key: Secret, base_url: str | None, api_version: str, timeout_s: float, session: ClientSession | None = None
) -> Client:
    """An SDK client that never sends a request twice; `session` replaces the SDK's own, which follows redirects.

    Without `retry_options` the SDK's asynchronous client repeats a request whose connection broke without a message,
    and the video would be billed twice unnoticed; `attempts=1` switches that off.
    """
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=base_url,
        api_version=api_version,
        timeout=int(timeout_s * 1000),
        retry_options=types.HttpRetryOptions(attempts=1),
        aiohttp_client=session,
    )
    return genai.Client(api_key=key.reveal(), http_options=options)


async def outcome_of(call: Awaitable[Result], *, used_file: bool = False) -> Result | Failure:
    """The result of an SDK call, or what went wrong.

    The SDK's exception stops here: it refers to its request, and so to the key.
    """
    from google.genai.errors import APIError

    try:
        return await call
    except APIError as error:
        pause = retry_after(getattr(error.response, "headers", {}))
        return from_http(int(error.code or 0), error.details, used_file=used_file, retry_after_s=pause)
    except Exception as error:  # noqa: BLE001 - SDKs raise many types; the failure names it, and bugs stop the run
        return from_exception(error)


def wire_body(request: Request) -> dict[str, Any]:
    """The JSON of a request, for single requests and for lines of a batch job: the video first, then the text."""
    parts: list[dict[str, Any]] = [] if request.media is None else [_media_part(request.media)]
    generation = {_camel(name): value for name, value in request.generation.items()}
    thinking = {name: generation.pop(name) for name in ("thinkingLevel", "thinkingBudget") if name in generation}
    if thinking:
        generation["thinkingConfig"] = thinking
    tier = {"serviceTier": request.tier} if request.tier else {}
    return {
        "contents": [{"role": "user", "parts": [*parts, {"text": request.user}]}],
        "systemInstruction": {"parts": [{"text": request.system}]},
        "generationConfig": generation,
        **tier,
    }


def answer_from_json(document: Any) -> Answer | Failure:
    """A generateContent answer, from the network or from a batch's result file; anything may be null or missing."""
    body = wire.mapping(document)
    if "candidates" not in body and "promptFeedback" not in body:
        return from_rpc(body.get("error")) if body.get("error") else Failure(Kind.TRANSIENT, "an empty answer", 200)
    first = wire.first(body.get("candidates"))
    parts = map(wire.mapping, wire.items(wire.mapping(first.get("content")).get("parts")))
    usage, is_counted = _usage(wire.mapping(body.get("usageMetadata")))
    return Answer(
        text=REDACTION.clean_caption("".join(wire.text(part.get("text")) for part in parts if not part.get("thought"))),
        finish_reason=finish_reason(first.get("finishReason")),
        block_reason=block_reason(wire.mapping(body.get("promptFeedback")).get("blockReason")),
        usage=usage,
        is_counted=is_counted,
        model_version=wire.name(body.get("modelVersion")),
        request_id=wire.name(body.get("responseId")),
    )


def _usage(counts: Mapping[str, Any]) -> tuple[Usage, bool]:
    """The tokens, and whether the service reported them. A missing part is the rest of the total."""

    def number(name: str) -> int | None:
        return wire.count(counts.get(name))

    def by_kind(name: str) -> dict[str, int]:
        details = map(wire.mapping, wire.items(counts.get(name)))
        return {wire.text(d.get("modality")): wire.count(d.get("tokenCount")) or 0 for d in details}

    sent, kept = by_kind("promptTokensDetails"), by_kind("cacheTokensDetails")
    thinking, total = number("thoughtsTokenCount") or 0, number("totalTokenCount")
    prompt, output = number("promptTokenCount"), number("candidatesTokenCount")
    if output is None and prompt is not None and total is not None:
        output = max(total - prompt - thinking, 0)
    elif prompt is None and output is not None and total is not None:
        prompt = max(total - output - thinking, 0)
    cached = number("cachedContentTokenCount") or 0
    video, audio = sent.get("VIDEO", 0), sent.get("AUDIO", 0)
    usage = Usage(prompt or 0, output or 0, thinking, cached, video, audio, kept.get("AUDIO", 0))
    return usage, prompt is not None and output is not None


def _media_part(media: RequestMedia) -> dict[str, Any]:
    if media.data is not None:
        data = base64.b64encode(media.data).decode("ascii")
        part: dict[str, Any] = {"inlineData": {"mimeType": media.mime_type, "data": data}}
    else:
        part = {"fileData": {"mimeType": media.mime_type, "fileUri": media.uri}}
    if media.fps is not None:
        part["videoMetadata"] = {"fps": media.fps}
    return part


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
