"""Gemini through Google's `google-genai`, with every hidden retry of the SDK switched off."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from sg.caption.services.failures import from_exception, from_http
from sg.caption.services.records import Answer, Failure, Media, Request, Usage
from sg.caption.services.secrets import Secret

if TYPE_CHECKING:
    from google.genai import Client, types

Result = TypeVar("Result")

KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


class Gemini:
    """The generate and count calls of the Gemini API, asynchronous, over aiohttp."""

    name = "gemini"

    def __init__(self, key: Secret, *, base_url: str | None, api_version: str, timeout_s: float) -> None:
        from google.genai import __version__, types

        self.sdk = ("google-genai", __version__)
        self.client = make_client(key, base_url, api_version, timeout_s)
        self._types = types
        self._configs: dict[str, types.GenerateContentConfig] = {}

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer to a request; failures of network and service come back as records."""
        used_file = request.media is not None and request.media.data is None
        call = self.client.aio.models.generate_content(
            model=request.model, contents=self._contents(request), config=self._config(request)
        )
        answered = await outcome_of(call, used_file=used_file)
        return answered if isinstance(answered, Failure) else _answer(answered)

    async def count_tokens(self, request: Request) -> int | Failure:
        """Tokens of the request's film and text, as the service counts them; costs nothing."""
        call = self.client.aio.models.count_tokens(model=request.model, contents=self._contents(request))
        counted = await outcome_of(call, used_file=request.media is not None and request.media.data is None)
        return counted if isinstance(counted, Failure) else int(counted.total_tokens or 0)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aio.aclose()

    def _contents(self, request: Request) -> Any:
        parts = [] if request.media is None else [self._film(request.media)]
        return [self._types.Content(role="user", parts=[*parts, self._types.Part(text=request.user)])]

    def _film(self, media: Media) -> types.Part:
        part = self._types.Part()
        if media.data is not None:
            part.inline_data = self._types.Blob(data=media.data, mime_type=media.mime_type)
        else:
            part.file_data = self._types.FileData(file_uri=media.uri, mime_type=media.mime_type)
        if media.start_s is not None or media.fps is not None:
            part.video_metadata = self._types.VideoMetadata(
                start_offset=offset(media.start_s), end_offset=offset(media.end_s), fps=media.fps
            )
        return part

    def _config(self, request: Request) -> types.GenerateContentConfig:
        """The SDK's config object; built once for all requests that share system text and settings."""
        name = json.dumps([request.system, dict(request.generation)], sort_keys=True)
        if (config := self._configs.get(name)) is None:
            values = dict(request.generation)
            thinking = {key: values.pop(key) for key in ("thinking_level", "thinking_budget") if key in values}
            if thinking:
                values["thinking_config"] = thinking
            values["automatic_function_calling"] = {"disable": True}
            config = self._types.GenerateContentConfig(system_instruction=request.system, **values)
            if len(self._configs) > 1000:
                self._configs.clear()
            self._configs[name] = config
        return config


def make_client(key: Secret, base_url: str | None, api_version: str, timeout_s: float) -> Client:
    """An SDK client that never resends by itself.

    Without `retry_options` the SDK's asynchronous client silently repeats a request whose connection broke, and the
    clip would be billed twice unseen; `attempts=1` switches that off too.
    """
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=base_url,
        api_version=api_version,
        timeout=int(timeout_s * 1000),
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    return genai.Client(api_key=key.reveal(), http_options=options)


async def outcome_of(call: Awaitable[Result], *, used_file: bool = False) -> Result | Failure:
    """The result of an SDK call, or the record of what went wrong: the SDK's exception ends here, with its request."""
    from google.genai.errors import APIError

    try:
        return await call
    except APIError as error:
        return from_http(int(error.code or 0), error.details, used_file=used_file)
    except Exception as error:  # noqa: BLE001 - every SDK raises its own; the record says which, and bugs stop the run
        return from_exception(error)


def offset(seconds: float | None) -> str | None:
    """`12.5s` as the service writes durations."""
    return None if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def _answer(response: types.GenerateContentResponse) -> Answer:
    candidate = response.candidates[0] if response.candidates else None
    parts = (candidate.content.parts if candidate and candidate.content else None) or []
    feedback = response.prompt_feedback
    return Answer(
        text="".join(part.text for part in parts if part.text and not part.thought),
        finish_reason=_word(candidate.finish_reason) if candidate else "",
        block_reason=_word(feedback.block_reason) if feedback else "",
        usage=_usage(response.usage_metadata),
        model_version=response.model_version or "",
        request_id=response.response_id or "",
    )


def _usage(counts: types.GenerateContentResponseUsageMetadata | None) -> Usage:
    if counts is None:
        return Usage()
    by_kind = {_word(d.modality): d.token_count or 0 for d in counts.prompt_tokens_details or ()}
    return Usage(
        input=counts.prompt_token_count or 0,
        output=counts.candidates_token_count or 0,
        thinking=counts.thoughts_token_count or 0,
        cached=counts.cached_content_token_count or 0,
        video=by_kind.get("VIDEO", 0),
        audio=by_kind.get("AUDIO", 0),
    )


def _word(value: Any) -> str:
    """The wire name of an enum member, also of one that the SDK does not know."""
    return "" if value is None else str(getattr(value, "value", value))


def answer_from_json(body: Mapping[str, Any]) -> Answer:
    """A generateContent answer as it stands in a batch's result file."""
    candidates = body.get("candidates") or [{}]
    parts = (candidates[0].get("content") or {}).get("parts") or []
    counts = body.get("usageMetadata") or {}
    by_kind = {d.get("modality"): int(d.get("tokenCount", 0)) for d in counts.get("promptTokensDetails") or ()}
    return Answer(
        text="".join(part.get("text", "") for part in parts if not part.get("thought")),
        finish_reason=str(candidates[0].get("finishReason") or ""),
        block_reason=str((body.get("promptFeedback") or {}).get("blockReason") or ""),
        usage=Usage(
            input=int(counts.get("promptTokenCount", 0)),
            output=int(counts.get("candidatesTokenCount", 0)),
            thinking=int(counts.get("thoughtsTokenCount", 0)),
            cached=int(counts.get("cachedContentTokenCount", 0)),
            video=by_kind.get("VIDEO", 0),
            audio=by_kind.get("AUDIO", 0),
        ),
        model_version=str(body.get("modelVersion") or ""),
        request_id=str(body.get("responseId") or ""),
    )
