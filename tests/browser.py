"""Headless Chromium through its DevTools protocol: pages at any width, in light and dark mode, measured and clicked."""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "disable-quic")
FLAGS = [f"--{name}" for name in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", *QUIET)]
LONGEST_S = 120


class Tab:
    """One page in the browser. `messages` are the texts on its console and the files that it could not load."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self.messages: list[str] = []
        self._socket, self._session, self._number = socket, session, 0
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        call = {"id": self._number, "method": method, "params": parameters, "sessionId": self._session}
        self._socket.send(json.dumps(call))
        return self._until(lambda message: message.get("id") == self._number)

    def _until(self, is_wanted: Any) -> dict[str, Any]:
        while True:
            message = json.loads(self._socket.recv(timeout=LONGEST_S))
            content = message.get("params", {})
            if message.get("method") == "Log.entryAdded":
                self.messages.append(content["entry"]["text"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.messages.append(content["exceptionDetails"]["text"])
            if is_wanted(message):
                return dict(message)

    def show(self, page: Path, width: int, height: int, dark: bool) -> None:
        """Load the page in a window of this size and wait until it and its scripts are done."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=page.absolute().as_uri())
        self._until(lambda message: message.get("method") == "Page.loadEventFired")
        self.run("new Promise((done) => setTimeout(done, 300))")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page; of a promise, what it resolves to."""
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"]
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Write a picture of the window, or of the `whole` page, as PNG."""
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["result"]
        path.write_bytes(base64.b64decode(found["data"]))
        return path


class Browser:
    """A running Chromium."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def open(self, page: Path, width: int = 1100, height: int = 900, dark: bool = False) -> Tab:
        """Open the page in a tab of its own."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        tab = Tab(self._socket, self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        tab.show(page, width, height, dark)
        return tab

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._socket.send(json.dumps({"id": 0, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=LONGEST_S))
            if message.get("id") == 0:
                return dict(message["result"])


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Start Chromium with an empty profile, and end it with all its child processes; skip the test if it hangs."""
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        port_file, deadline = profile / "DevToolsActivePort", time.monotonic() + LONGEST_S
        while not (port_file.is_file() and port_file.read_text().count("\n")):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"Chromium did not start within {LONGEST_S} s")
            time.sleep(0.05)
        port, path = port_file.read_text().splitlines()
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as socket:
            yield Browser(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


OUTSIDE = """[...document.querySelectorAll("h1, h2, h3, p, td, th, li, svg, img, pre, figcaption, a, b, button, input")]
  .filter((one) => one.checkVisibility() && !one.closest("details:not([open])") && !one.closest(".zoom > input"))
  .filter((one) => { const box = one.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth + 0.5; })
  .map((one) => one.outerHTML.slice(0, 80))"""
"""JavaScript: what lies outside the window."""

CUT = """[...document.querySelectorAll("body *")]
  .filter((one) => one.checkVisibility() && getComputedStyle(one).overflowX !== "visible" && !one.closest("svg"))
  .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.tagName !== "INPUT")
  .map((one) => one.outerHTML.slice(0, 80))"""
"""JavaScript: what hides a part of its content behind a horizontal scroll bar."""

LOW_CONTRAST = r"""(() => {
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const light = (text) => rgb(text).slice(0, 3).map((one) => one / 255)
    .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (one) => {
    const colour = getComputedStyle(one).backgroundColor;
    return one.parentElement && (rgb(colour)[3] ?? 1) === 0 ? ground(one.parentElement) : colour;
  };
  return [...document.querySelectorAll("h1, h2, h3, p, td, th, li, a, b, small, span, summary, figcaption, code")]
    .filter((one) => one.checkVisibility() && one.textContent.trim())
    .map((one) => [one, [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a)])
    .filter(([, [high, low]]) => (high + 0.05) / (low + 0.05) < 4.5)
    .map(([one]) => one.outerHTML.slice(0, 100));
})()"""
"""JavaScript: text whose contrast with its ground is below 4.5 (WCAG 2, level AA)."""


def check_look(browser: Browser, page: Path, width: int) -> None:
    """Assert that a page fits the window, hides nothing, and can be read in light and in dark mode."""
    for dark in (False, True):
        tab = browser.open(page, width, dark=dark)
        tab.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert tab.messages == []
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.run(OUTSIDE) == []
        assert tab.run(CUT) == []
        assert tab.run(LOW_CONTRAST) == []
        ground = tab.run("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 200) is dark
