"""A self-hosted server with OpenAI's chat format (vLLM, SGLang, llama.cpp, ...), over plain HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sg.caption.hosted.services import wire
from sg.caption.hosted.services.failures import from_exception, from_http, from_rpc, retry_after
from sg.caption.hosted.services.gpu_time import GpuTime
from sg.caption.hosted.services.http import open_session
from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, RequestMedia, Usage
from sg.caption.hosted.services.secrets import REDACTION, Secret

if TYPE_CHECKING:
    from aiohttp import ClientSession

_REASONS = {"LENGTH": "MAX_TOKENS", "EOS": "STOP", "EOS_TOKEN": "STOP", "STOP_SEQUENCE": "STOP", "END_TURN": "STOP"}
"""Names of finish reasons in capitals, where they differ from those of the Gemini API."""


@dataclass(slots=True)
class _Server:
    """One of several servers with the same model; `failures` in a row."""

    url: str
    time: GpuTime
    failures: int = 0


class OpenAICompatible:
    """`POST {server}/chat/completions`, with the video as a data URL, its URL or its path in a `video_url` part.

    Args:
        servers: base addresses of servers with the same model.
        gpus: of each server.
    """

    name = "openai_compatible"

    def __init__(self, servers: Sequence[str], gpus: int, key: Secret | None, timeout_s: float) -> None:
        import aiohttp

        self.sdk = ("aiohttp", aiohttp.__version__)
        self._servers = [_Server(f"{url.rstrip('/')}/chat/completions", GpuTime(gpus)) for url in servers]
        self._key, self._timeout_s = key, timeout_s
        self._session: ClientSession | None = None

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer to a request; failures of network and server are returned, not raised.

        Of several servers the one with the fewest requests is asked; one that failed lately counts as busier.
        """
        server = min(self._servers, key=lambda one: one.time.in_flight + one.failures)
        with server.time.share() as share:
            outcome = await self._ask(server.url, request)
        if isinstance(outcome, Failure):
            server.failures += 1
            return outcome
        server.failures = 0
        return replace(outcome, usage=replace(outcome.usage, gpu_seconds=share.seconds))

    async def _ask(self, url: str, request: Request) -> Answer | Failure:
        try:
            async with (await self._open()).post(url, json=_body(request)) as response:
                code, pause = response.status, retry_after(response.headers)
                is_answer = 200 <= code < 300  # gateways label an answer 201 as well
                body = wire.document(await response.read()) if is_answer else await response.json()
        except Exception as error:  # noqa: BLE001 - the network raises many types; the failure names it
            return from_exception(error)
        if not is_answer:
            return from_http(code, body, retry_after_s=pause)
        return _answer(body)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    async def _open(self) -> ClientSession:
        if self._session is None:
            headers = {} if self._key is None else {"Authorization": f"Bearer {self._key.reveal()}"}
            self._session = open_session(self._servers[0].url, headers=headers, timeout_s=self._timeout_s)
        return self._session


def _body(request: Request) -> dict[str, Any]:
    content = [{"type": "image_url", "image_url": {"url": _url(picture)}} for picture in request.pictures]
    if request.media is not None:
        content.append({"type": "video_url", "video_url": {"url": _url(request.media)}})
    content.append({"type": "text", "text": request.user})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    settings = {"max_tokens" if key == "max_output_tokens" else key: v for key, v in request.generation.items()}
    if request.reply:
        messages.append({"role": "assistant", "content": request.reply})
        # vLLM and SGLang begin another turn otherwise.
        settings |= {"add_generation_prompt": False, "continue_final_message": True}
    return {"model": request.model, "messages": messages, **settings}


def _url(media: RequestMedia) -> str:
    if media.data is None:
        return media.uri
    return f"data:{media.mime_type};base64,{base64.b64encode(media.data).decode()}"


def _first_tokens(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The likeliest first tokens of a choice with their log-probabilities; empty where they are not named."""
    first = wire.first(wire.mapping(choice.get("logprobs")).get("content"))
    found = []
    for entry in map(wire.mapping, wire.items(first.get("top_logprobs"))):
        token, logprob = entry.get("token"), entry.get("logprob")
        if isinstance(token, str) and isinstance(logprob, (int, float)) and -1e4 < logprob <= 0:
            found.append((token[:40], float(logprob)))
    return found


def _without_thought(text: str) -> str:
    """The answer behind the thought of a model whose server leaves it in the text, often without its first mark.

    A thought that does not end has no answer.
    """
    _, mark, answer = text.rpartition("</think>")
    return answer.strip() if mark else ("" if text.lstrip().startswith("<think>") else text)


def _answer(document: Any) -> Answer | Failure:
    """The answer in a document, in which anything may be null or missing."""
    body = wire.mapping(document)
    if "choices" not in body:
        return from_rpc(body.get("error")) if body.get("error") else Failure(Kind.TRANSIENT, "an empty answer", 200)
    choice, counts = wire.first(body.get("choices")), wire.mapping(body.get("usage"))
    if choice.get("error"):
        return from_rpc(choice["error"])
    content = wire.mapping(choice.get("message")).get("content")
    parts = map(wire.mapping, wire.items(content))
    reason = wire.name(choice.get("finish_reason")).upper()
    prompt, output = wire.count(counts.get("prompt_tokens")), wire.count(counts.get("completion_tokens"))
    text = wire.text(content) or "".join(wire.text(part.get("text")) for part in parts)
    return Answer(
        text=REDACTION.clean_caption(_without_thought(text)),
        finish_reason=_REASONS.get(reason, reason),
        usage=Usage(prompt or 0, output or 0),
        is_counted=prompt is not None and output is not None,
        model_version=wire.name(body.get("model")),
        request_id=wire.name(body.get("id")),
        first_tokens=_first_tokens(choice),
    )
