"""`python -m sg.status [format=json]`: the running commands of this work folder and those that ended lately."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg.core.commands import command, register
from sg.core.mistakes import check_numbers
from sg.core.output import TEXT, check_format, show
from sg.core.places.config import PathsConfig
from sg.core.progress import duration
from sg.core.status import LOST, RUNNING, read_status

SCHEMA = 1
"""Version of the JSON that `format=json` prints."""


@dataclass
class StatusConfig:
    """The settings of `python -m sg.status`.

    Attributes:
        hours: commands that ended longer ago are left out.
    """

    hours: float = 24.0
    format: str = TEXT
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        check_format(self.format)
        check_numbers("", self, hours=0)


register(None, "status_schema", StatusConfig)


def status(config: StatusConfig) -> None:
    """Show what runs, and what ended in the last `hours`."""
    work, now = Path(config.paths.work), time.time()
    jobs = [job for job in read_status(work) if job["state"] == RUNNING or now - job["news"] < config.hours * 3600]
    totals = {
        "running": sum(job["state"] == RUNNING for job in jobs),
        "failures": sum(bar["failed"] for job in jobs for bar in job["bars"]),
        "cost_usd": sum(bar["cost_usd"] or 0.0 for job in jobs for bar in job["bars"]),
    }
    show("status", SCHEMA, {**totals, "jobs": jobs}, lambda: _text(work, jobs, now), config.format)


def _text(work: Path, jobs: list[dict[str, Any]], now: float) -> str:
    if not jobs:
        return f"No command has reported in {work} lately; short ones never do."
    return "\n".join(line for job in jobs for line in _lines(job, now))


def _lines(job: Mapping[str, Any], now: float) -> list[str]:
    ago = f"{duration(now - job['news'])} ago"
    when = {
        RUNNING: f"for {duration(now - job['began'])}, last news {ago}",
        LOST: f"ended without a word, last news {ago}",
    }
    head = f"{job['state']:<8} {job['command']}"
    lines = [head, f"         {job['host']} process {job['pid']}, {when.get(job['state'], f'ended {ago}')}"]
    lines += [f"         {job['reason']}"] if job["reason"] else []
    lines += [f"         {bar['line']}" for bar in job["bars"]]
    for place, gpu in enumerate(job["gpus"]):
        use = "" if gpu.get("use_percent") is None else f"{gpu['use_percent']:.0f} % busy, "
        memory = f"{gpu['allocated_gb']:.1f} of {gpu['total_gb']:.1f} GB, peak {gpu['peak_gb']:.1f} GB"
        lines.append(f"         GPU {place}: {use}{memory}")
    return [*lines, f"         result: {job['result_folder']}"]


main = command("status", StatusConfig, sweeps=False)(status)

if __name__ == "__main__":
    main()
