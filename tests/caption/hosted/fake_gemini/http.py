"""The part of HTTP/1.1 that the SDKs need: keep-alive, bodies by length or in chunks; and broken answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

MAX_BODY = 2**31


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    host: str


@dataclass(slots=True)
class Response:
    """An answer; `breakage` sends it incompletely or not at all, see `_send`."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=UTF-8"
    breakage: str = ""
    delay_s: float = 0.0
    as_is: bool = False
    """Whether the body is sent as it is by every route, also by one with another format."""
    sent: Callable[[], None] | None = None
    """Called after the whole answer was written to the socket."""


Handler = Callable[[Request], Awaitable[Response]]
BREAKAGES = ("reset", "reset_body", "close_body", "silence", "drip")


async def serve(handler: Handler, port: int = 0) -> tuple[asyncio.Server, int]:
    """Listen on a loopback port of the system's choice; returns the server and its port."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                if not await _send(writer, await handler(request)):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port, limit=2**20, backlog=1024)
    return server, server.sockets[0].getsockname()[1]


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    line, *rest = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (part.partition(":") for part in rest if part)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    else:
        length = int(headers.get("content-length", 0))
        assert length <= MAX_BODY
        body = await reader.readexactly(length) if length else b""
    url = urlsplit(target)
    return Request(method, url.path, parse_qs(url.query), headers, body, headers.get("host", ""))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


async def _send(writer: asyncio.StreamWriter, response: Response) -> bool:
    """Send an answer; returns whether the connection stays open."""
    if response.delay_s:
        await asyncio.sleep(response.delay_s)
    if response.breakage == "reset":
        writer.transport.abort()
        return False
    if response.breakage == "silence":
        await asyncio.sleep(3600)
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        **response.headers,
    }
    head = f"HTTP/1.1 {response.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if response.breakage in ("reset_body", "close_body"):
        writer.write(head.encode() + b"\r\n" + response.body[: len(response.body) // 2])
        await writer.drain()
        if response.breakage == "reset_body":
            writer.transport.abort()
        return False
    if response.breakage == "drip":
        writer.write(head.encode() + b"\r\n")
        for byte in response.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.3)
        return True
    writer.write(head.encode() + b"\r\n" + response.body)
    await writer.drain()
    if response.sent is not None:
        response.sent()
    return True
