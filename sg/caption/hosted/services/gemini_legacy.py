"""Gemini through `google-generativeai`, whose support ended in November 2025, in a process of its own.

The SDK needs protobuf below 6, which the rest of this project does not accept, so it runs in the environment that
`captioner.python` names. Its calls block, so the process answers in threads.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg.caption.hosted.services.failures import from_http
from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, Usage
from sg.caption.hosted.services.secrets import Secret
from sg.core.errors import ConfigError

_WORKER = Path(__file__).with_name("legacy_worker.py")
_LINE_LIMIT = 2**27
# The SDK converts reasons to numbers, and a reason that it does not know to 0.
_FINISH = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER", 6: "LANGUAGE", 7: "BLOCKLIST",
           8: "PROHIBITED_CONTENT", 9: "SPII", 10: "OTHER"}  # fmt: skip
_BLOCK = {1: "SAFETY", 2: "OTHER", 3: "BLOCKLIST", 4: "PROHIBITED_CONTENT", 5: "IMAGE_SAFETY"}


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
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
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
        self.sdk = ("google-generativeai", json.loads(greeting)["sdk_version"])
        self._reader = asyncio.create_task(self._read(process.stdout))
        return process

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            values = json.loads(line)
            future = self._waiting.get(values["id"])
            if future is not None and not future.done():
                future.set_result(_outcome(values))
        for future in self._waiting.values():
            if not future.done():
                future.set_result(_ENDED)


_ENDED = Failure(Kind.TRANSIENT, "the process of the legacy SDK ended", 0, "NETWORK")


def _outcome(values: Mapping[str, Any]) -> Answer | Failure:
    if (error := values.get("error")) is not None:
        if error["code"]:
            return from_http(error["code"], error)
        network = error["name"] in ("ConnectionError", "ReadTimeout", "ChunkedEncodingError", "Timeout", "RetryError")
        parse = error["name"] in ("ParseError", "JSONDecodeError", "DecodeError")
        return Failure(Kind.TRANSIENT if network or parse else Kind.BUG, f"{error['name']}: {error['message']}"[:300])
    answer = values["answer"]
    reason = answer["finish_reason"]
    return Answer(
        text=answer["text"],
        finish_reason="" if reason is None else _FINISH.get(reason, "UNKNOWN"),
        block_reason=_BLOCK.get(answer["block_reason"], "OTHER") if answer["block_reason"] else "",
        usage=Usage(answer["input"], answer["output"], cached=answer["cached"]),
        model_version=answer["model_version"],
    )
