"""Headless Chromium: the content, the console messages and the picture of a page."""

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync")
LONGEST_S = 120
FLAGS = [f"--{name}" for name in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", *QUIET)]


def _run(page: Path, profile: Path, *flags: str) -> tuple[str, str]:
    """Return what Chromium wrote to stdout and stderr. If it hangs, its process group is killed and the test skipped.

    The streams are files, because the child processes of a Chromium that hangs would keep a pipe open for ever.
    """
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}/chromium", "--virtual-time-budget=5000", *flags]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        browser = subprocess.Popen([*command, f"file://{page}"], stdout=output, stderr=errors, start_new_session=True)
        try:
            code = browser.wait(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            pytest.skip(f"Chromium did not answer within {LONGEST_S} s")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
        output.seek(0)
        errors.seek(0)
        said = output.read(), errors.read()
    assert code == 0, said[1]
    return said


def page_text(page: Path, profile: Path) -> str:
    """Return the page's HTML after its scripts have run."""
    return _run(page, profile, "--dump-dom")[0]


def console(page: Path, profile: Path) -> list[str]:
    """Return the messages on the page's console: refused files, errors of scripts."""
    _, said = _run(page, profile, "--enable-logging=stderr", f"--screenshot={profile}/page.png")
    return [line for line in said.splitlines() if "CONSOLE" in line]


def screenshot(page: Path, profile: Path, width: int, height: int, dark: bool = False) -> Path:
    """Take a screenshot of the top of the page at this window size."""
    picture = profile / f"{page.stem}-{width}{'-dark' if dark else ''}.png"
    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    _run(page, profile, f"--window-size={width},{height}", f"--screenshot={picture}", *scheme)
    return picture
