"""Headless Chromium: what a page shows, what it says on its console, how it looks."""

import subprocess
from pathlib import Path

QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync")
FLAGS = [f"--{name}" for name in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", *QUIET)]


def _run(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}/chromium", "--virtual-time-budget=5000", *flags]
    return subprocess.run([*command, f"file://{page}"], capture_output=True, text=True, timeout=300, check=True)


def page_text(page: Path, profile: Path) -> str:
    """The page's HTML after its scripts have run."""
    return _run(page, profile, "--dump-dom").stdout


def console(page: Path, profile: Path) -> list[str]:
    """What the page wrote to its console: refused files, errors of scripts."""
    said = _run(page, profile, "--enable-logging=stderr", f"--screenshot={profile}/page.png").stderr
    return [line for line in said.splitlines() if "CONSOLE" in line]


def screenshot(page: Path, profile: Path, width: int, height: int, dark: bool = False) -> Path:
    """A picture of the top of the page at this window size."""
    picture = profile / f"{page.stem}-{width}{'-dark' if dark else ''}.png"
    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    _run(page, profile, f"--window-size={width},{height}", f"--screenshot={picture}", *scheme)
    return picture
