"""Gemini through `google-generativeai`, whose support ended in November 2025, in a process of its own.

The SDK needs protobuf below 6, which the rest of this project does not accept, so it runs in the environment that
`captioner.python` names. Its calls block, so the process answers in threads.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg.caption.hosted.services import wire
from sg.caption.hosted.services.failures import block_reason, finish_reason, from_http
from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, Usage
from sg.caption.hosted.services.secrets import REDACTION, Secret
from sg.core.errors import ConfigError

_WORKER = Path(__file__).with_name("legacy_worker.py")
log = logging.getLogger(__name__)
_LINE_LIMIT = 2**27
"""The worker reads at most 2**25 bytes (`legacy_worker.MAX_ANSWER_BYTES`), of which JSON writes two as six."""
_NETWORK = (
    *("ConnectionError", "ReadTimeout", "ConnectTimeout", "Timeout", "RetryError", "ChunkedEncodingError"),
    *("ContentDecodingError", "ParseError", "JSONDecodeError", "DecodeError", "UnicodeDecodeError", "RecursionError"),
)
"""Errors of the network and of the SDK's parser."""


class GeminiLegacy:
    """The legacy SDK as a `Service`."""

    name = "gemini_legacy"

    def __init__(self, key: Secret, *, python: str | None, base_url: str | None, threads: int, timeout_s: float):
        self.sdk = ("google-generativeai", "")
        self._key, self._python = key, python or sys.executable
        self._settings = json.dumps({"base_url": base_url, "threads": threads, "timeout_s": timeout_s})
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, asyncio.Future[Answer | Failure]] = {}
        self._ids = itertools.count()
        self._start: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._reader: asyncio.Task[None] | None = None

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer to a request; failures are returned, not raised."""
        process = await self._started()
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        media = request.media
        sent = media and {"mime_type": media.mime_type, "data": base64.b64encode(media.data or b"").decode()}
        line = {"id": number, "model": request.model, "system": request.system, "user": request.user}
        line |= {"media": sent, "generation": dict(request.generation)}
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(line).encode() + b"\n")
            await process.stdin.drain()
            return await self._waiting[number]
        except ConnectionError:
            return _ENDED
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End the process."""
        if self._start is not None and not self._start.done():
            self._start.cancel()
        if self._process is not None:
            await _end(self._process)
        if self._reader is not None:
            await self._reader

    async def _started(self) -> asyncio.subprocess.Process:
        """The running process; it is shielded, so that a cancelled request does not cancel its start for the others."""
        ended = self._process is None or self._process.returncode is not None
        if self._start is None or (self._start.done() and ended):
            self._start = asyncio.create_task(self._launch())
        return await asyncio.shield(self._start)

    async def _launch(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(self._python, "-I", str(_WORKER), self._settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"SG_LEGACY_KEY": self._key.reveal()},
            limit=_LINE_LIMIT,
        )
        self._process = process
        assert process.stdout is not None
        greeting = await process.stdout.readline()
        if not greeting:
            raise ConfigError(
                f"captioner=gemini_legacy: {self._python} cannot import google-generativeai: make an environment "
                "with `pip install google-generativeai` and name its Python with captioner.python=PATH."
            )
        self.sdk = ("google-generativeai", wire.name(_line(greeting).get("sdk_version")))
        self._reader = asyncio.create_task(self._read(process, process.stdout))
        return process

    async def _read(self, process: asyncio.subprocess.Process, stream: asyncio.StreamReader) -> None:
        """Give each line to the request that waits for it, until the process ends; then no request waits any longer."""
        try:
            while line := await stream.readline():
                values = _line(line)
                number = wire.count(values.get("id"), sys.maxsize)
                future = None if number is None else self._waiting.get(number)
                if future is not None and not future.done():
                    future.set_result(_outcome(values))
        except ValueError:  # a line above the limit: where the next one begins is unknown
            log.warning(
                "the process of the legacy SDK wrote a line of more than %d bytes: starting another", _LINE_LIMIT
            )
        await _end(process)
        for future in self._waiting.values():
            if not future.done():
                future.set_result(_ENDED)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


_ENDED = Failure(Kind.TRANSIENT, "the process of the legacy SDK ended", 0, "NETWORK")


def _line(line: bytes) -> Mapping[str, Any]:
    """The object of a line; an empty one for anything else, such as a line that a library prints."""
    try:
        return wire.mapping(wire.document(line))
    except ValueError:
        return {}


def _outcome(values: Mapping[str, Any]) -> Answer | Failure:
    """The outcome of a line, in which anything may be missing or of another type."""
    if (error := values.get("error")) is not None:
        described = wire.mapping(error)
        if code := wire.count(described.get("code"), 599):
            return from_http(code, error)
        name = wire.name(described.get("name"))
        message = f"{name}: {wire.name(described.get('message'))}"[:300]
        if name == "TooManyRedirects":
            return Failure(Kind.CONFIG, f"{message}: keys and videos follow no redirect, set captioner.base_url to it")
        return Failure(Kind.TRANSIENT, message, 0, "NETWORK") if name in _NETWORK else Failure(Kind.BUG, message)
    answer = wire.mapping(values.get("answer"))
    counts = {name: wire.count(answer.get(name)) for name in ("input", "output", "thinking", "cached")}
    # The SDK converts a reason that it does not know to 0, and only an answer without a candidate has none.
    reason = answer.get("finish_reason")
    return Answer(
        text=REDACTION.clean_caption(wire.text(answer.get("text"))),
        finish_reason="UNKNOWN" if reason == 0 else finish_reason(reason),
        block_reason=block_reason(answer.get("block_reason")),
        usage=Usage(counts["input"] or 0, counts["output"] or 0, counts["thinking"] or 0, counts["cached"] or 0),
        is_counted=bool(counts["input"]) and counts["output"] is not None,
        model_version=wire.name(answer.get("model_version")),
    )
