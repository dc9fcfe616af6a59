"""The skipped tests of a run: why, and how to have them; with SG_NO_SKIPS=1 only tests for a GPU may be skipped."""

import os
import re
from collections import Counter
from collections.abc import Iterable

import pytest

GPU = re.compile(r"CUDA|GPU")
HOW = {
    GPU.pattern: "run on a machine with an NVIDIA GPU (tests for machines without one are skipped there)",
    "(?i)chromium": "install Chromium (Debian: apt-get install chromium)",
    "SG_LEGACY_PYTHON": "python -m venv legacy && legacy/bin/pip install 'google-generativeai>=0.8.6,<0.9', "
    "then SG_LEGACY_PYTHON=$PWD/legacy/bin/python make test",
    "torchvision|num2words": ".venv/bin/pip install -c constraints.txt -e '.[hf]'",
    "bitsandbytes": ".venv/bin/pip install -c constraints.txt -e '.[qlora]'",
    "real-clips": ".venv/bin/pip install -c constraints.txt -e '.[real-clips]'",
    "torchcodec cannot be loaded": "install a system FFmpeg that this torchcodec supports",
    "is not installed|could not import": "make setup",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the reasons of the skipped tests with their number and what to do."""
    reasons = _reasons(terminalreporter)
    if not reasons:
        return
    terminalreporter.section(f"{sum(reasons.values())} tests were left out")
    for reason, count in reasons.most_common():
        how = next((text for pattern, text in HOW.items() if re.search(pattern, reason)), None)
        terminalreporter.line(f"{count:>4}  {reason}" + (f"\n      -> {how}" if how else ""))
    if forbidden := _forbidden(reasons):
        terminalreporter.line(f"SG_NO_SKIPS=1 forbids {len(forbidden)} of these reasons: only a GPU may be missing.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run under SG_NO_SKIPS=1 if a test was skipped for another reason than a missing GPU."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(session.config, "workerinput") or reporter is None:
        return
    if _forbidden(_reasons(reporter)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reasons(reporter: pytest.TerminalReporter) -> Counter[str]:
    """{reason: number of skipped tests}; a module that is skipped whole counts as one test."""
    found: Counter[str] = Counter()
    for report in reporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found[text.removeprefix("Skipped: ")] += 1
    return found


def _forbidden(reasons: Iterable[str]) -> list[str]:
    """The reasons that SG_NO_SKIPS=1 does not accept."""
    return [reason for reason in reasons if not GPU.search(reason)] if os.environ.get("SG_NO_SKIPS") == "1" else []
