"""A loopback server with OpenAI's chat format: fixed answers per question, and the faults of real servers.

It records every request and every answer that was paid for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "html", "reset", "slow", "empty", "")
SLOW_S = 8.0
REFUSALS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "429": (429, b'{"error": {"message": "slow down"}}', {"Retry_After": "0"}),
    "500": (500, b'{"error": {"message": "out of memory"}}', {}),
    "html": (502, b"<html>Bad gateway</html>", {}),
    "empty": (200, b"", {}),
}


def text_of(body: dict[str, Any]) -> str:
    """The text of the user in a request."""
    user = next(message for message in body["messages"] if message["role"] == "user")
    return "".join(part["text"] for part in user["content"] if part["type"] == "text")


def pictures_of(body: dict[str, Any]) -> list[str]:
    """The data URLs of the pictures of a request."""
    user = next(message for message in body["messages"] if message["role"] == "user")
    return [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]


def number_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def letter_for(body: dict[str, Any]) -> str:
    """The fixed answer to a request: a letter that follows from its text."""
    return "ABCD"[number_of(text_of(body)) % 2]


def choice(content: str | None, reason: str = "stop", tokens: dict[str, float] | None = None) -> dict[str, Any]:
    """One choice of an answer; `tokens` are the likeliest first tokens."""
    made: dict[str, Any] = {"message": {"role": "assistant", "content": content}, "finish_reason": reason}
    if tokens is not None:
        entries = [{"token": token, "logprob": value} for token, value in tokens.items()]
        made["logprobs"] = {"content": [{"token": content, "logprob": 0.0, "top_logprobs": entries}]}
    return made


@dataclass
class Server:
    """What the handler shares: the answer function, the plan of faults, and what was asked."""

    answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: choice(letter_for(body))
    model: str | None = None
    faulty: bool = False
    faults: tuple[str, ...] = FAULTS
    slow_s: float = SLOW_S
    pause_s: float = 0.0
    usage: dict[str, int] = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 1})
    requests: list[dict[str, Any]] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)
    url: str = ""

    def fault(self, key: str) -> str:
        """What happens to the first try of a request instead of its answer; "" for nothing."""
        return self.faults[number_of(key) % len(self.faults)] if self.faulty else ""


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: Any) -> None:
            """Nothing is printed."""

        def send(self, code: int, data: bytes, **headers: str) -> None:
            self.send_response(code)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
            with lock:
                server.requests.append(body)
                server.keys.add(self.headers.get("Authorization", ""))
                attempt = server.tries[key]
                server.tries[key] += 1
            time.sleep(server.pause_s)
            fault = server.fault(key) if attempt == 0 else ""
            if fault in REFUSALS:
                code, data, headers = REFUSALS[fault]
                self.send(code, data, **headers)
                return
            if fault == "reset":
                # `connection.close()` alone would close nothing: `rfile` and `wfile` hold the socket too, so the client
                # would wait for an answer until its deadline.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            time.sleep(server.slow_s if fault == "slow" else 0)
            model = "another-model" if fault == "model" else server.model or body["model"]
            answer = {"id": "x", "model": model, "choices": [server.answer(body)]}
            answer["usage"] = server.usage
            with lock:
                server.paid[key] += 1
            with contextlib.suppress(OSError):
                self.send(200, json.dumps(answer).encode())

    return Handler


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *words: Any) -> None:
        """Nothing is printed: a killed client leaves broken connections."""


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve in a thread; `server.url` is the address."""
    http = _QuietServer(("127.0.0.1", 0), handler(server))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
