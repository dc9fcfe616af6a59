"""An S3 emulator on loopback: moto's server, which fails on request and counts the bytes that it sends."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

_ERRORS = {
    "500 Internal Server Error": "InternalError",
    "503 Slow Down": "SlowDown",
    "403 Forbidden": "AccessDenied",
    "400 Bad Request": "ExpiredToken",
}
PASSING = ("500 Internal Server Error", "503 Slow Down", "reset", "cut")
"""Faults after which another attempt succeeds."""
KEY = "secret-of-the-emulator"


@dataclass
class Emulator:
    """The server, its URL, and the faults of the next requests.

    Attributes:
        faults: (fault, pattern): a request of which `METHOD path?query` matches the pattern has the fault. It is a
            status line of `_ERRORS`, `reset`, `slow`, or `cut`: half of the answer, then the connection is closed.
        times: how many more requests have the fault.
        every: one of so many requests has one of four passing faults; 0 for none.
        log: the requests, with the bytes of their answers.
    """

    url: str
    fault: str = ""
    pattern: str = ""
    times: int = 0
    every: int = 0
    num_seen: int = 0
    log: list[tuple[str, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, fault: str, pattern: str = "", times: int = 10**9) -> None:
        """Let the next requests that match `pattern` fail."""
        with self.lock:
            self.fault, self.pattern, self.times = fault, pattern, times

    def fail_every(self, count: int) -> None:
        """Let one of `count` requests fail in a way that passes."""
        self.every = count

    def heal(self) -> None:
        """End all faults."""
        self.fail("", times=0)
        self.every = 0

    def fault_of(self, request: str) -> str:
        """The fault of a request."""
        with self.lock:
            self.num_seen += 1
            if self.every and self.num_seen % self.every == 0:
                return PASSING[self.num_seen // self.every % len(PASSING)]
            if self.times <= 0 or not re.search(self.pattern, request):
                return ""
            self.times -= 1
            return self.fault

    def wrapped(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """The WSGI application `app`, with faults."""

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
            fault = self.fault_of(request)
            if fault not in ("", "cut"):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if fault in ("reset", "slow"):
                time.sleep(0.5 if fault == "slow" else 0)
                return _broken(environ["werkzeug.socket"])
            if fault in _ERRORS:
                body = f"<Error><Code>{_ERRORS[fault]}</Code><Message>told by the emulator</Message></Error>".encode()
                start(fault, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
                return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
            body = b"".join(app(environ, start))
            self.log.append((request, len(body)))
            return _broken(environ["werkzeug.socket"], body[: len(body) // 2]) if fault == "cut" else [body]

        return answer


def _broken(connection: socket.socket, sent: bytes = b"") -> Iterator[bytes]:
    """The bytes `sent`, and then the end of the connection."""
    if sent:
        yield sent
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


@contextlib.contextmanager
def emulator() -> Iterator[Emulator]:
    """A running emulator with the bucket `bucket`; the variables of the environment point to it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    found = Emulator("")
    app = found.wrapped(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", found.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        try:
            import s3fs

            s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True).mkdir("bucket")
            yield found
        finally:
            found.heal()
            urllib.request.urlopen(f"{found.url}/moto-api/reset", b"")  # moto keeps its buckets for the whole process
            server.shutdown()
            server.server_close()
            thread.join()
