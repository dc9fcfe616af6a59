"""Running the fake service: in a thread for tests, as a child process for benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.caption.hosted.fake_gemini.server import FakeGemini
from tests.caption.hosted.fake_gemini.state import State


@contextlib.contextmanager
def in_thread(state: State) -> Iterator[str]:
    """The service in a thread of this process; returns its base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server, port = asyncio.run_coroutine_threadsafe(FakeGemini(state).start(), loop).result()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def as_process(*arguments: str) -> Iterator[str]:
    """The service as a child process; returns its base URL."""
    command = [sys.executable, "-m", "tests.caption.hosted.fake_gemini", *arguments]
    root = Path(__file__).parents[4]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(child.stdout.readline())}"
        finally:
            child.kill()


def summary(url: str) -> dict[str, Any]:
    """What the service has counted."""
    with urllib.request.urlopen(f"{url}/_state") as answer:
        value: dict[str, Any] = json.load(answer)
    return value
